//! What happened, for people: as text, and as SVG in the style of the lecture notes' figures.

mod battle;
mod figures;
mod phases;
mod style;
mod text;
mod tree;

pub use battle::{Arrow, Battle, oral_arrow, signed_arrow};
pub use figures::figures;
pub use phases::phases;
pub use text::{oral_tree, signed_story};
pub use tree::message_tree;
