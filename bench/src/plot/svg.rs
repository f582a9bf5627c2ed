//! The few elements of SVG that drawings of this project need, written as text.

use std::fmt::{self, Display, Write};

/// A drawing under construction. Coordinates are pixels, the origin is the upper left corner.
#[derive(Debug)]
pub struct Canvas {
    text: String,
    open: usize,
}

/// How a text stands at its point.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

/// Escapes what would otherwise be markup, and leaves out the control characters that XML forbids.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                control if control.is_control() => {}
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A tenth of a pixel is as fine as anybody sees; shorter numbers make smaller files.
struct Pixels(f64);

impl Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() / 10.0;
        write!(f, "{tenths}")
    }
}

impl Canvas {
    /// An empty drawing with a background. `describe` is what a screen reader says.
    pub fn new(width: f64, height: f64, background: &str, style: &str, describe: &str) -> Self {
        let mut canvas = Self { text: String::with_capacity(1 << 15), open: 0 };
        canvas.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{}</style>\n",
            Escaped(describe),
            Escaped(style),
        ));
        canvas.rectangle(0.0, 0.0, width, height, &format!("fill:{background}"));
        canvas
    }

    /// The text of the finished drawing.
    ///
    /// # Panics
    /// When a group is still open.
    pub fn finish(mut self) -> String {
        assert_eq!(self.open, 0, "every group is closed");
        self.put(format_args!("</svg>\n"));
        self.text
    }

    /// Begins a group of the style class `class`.
    pub fn group(&mut self, class: &str) {
        self.open += 1;
        self.put(format_args!("<g class=\"{}\">\n", Escaped(class)));
    }

    /// Ends the last group.
    pub fn group_end(&mut self) {
        self.open -= 1;
        self.put(format_args!("</g>\n"));
    }

    /// A rectangle from its upper left corner on.
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, style: &str) {
        let (x, y, width, height) = (Pixels(x), Pixels(y), Pixels(width), Pixels(height));
        let style = Escaped(style);
        self.put(format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" style=\"{style}\"/>\n"));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (Pixels(from.0), Pixels(from.1), Pixels(to.0), Pixels(to.1));
        self.put(format_args!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n"));
    }

    /// A line through all points; a filled area when `style` says so.
    pub fn path(&mut self, points: &[(f64, f64)], closed: bool, style: &str) {
        self.put(format_args!("<path style=\"{}\" d=\"", Escaped(style)));
        for (at, &(x, y)) in points.iter().enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            self.put(format_args!("{command}{},{}", Pixels(x), Pixels(y)));
        }
        self.put(format_args!("{}\"/>\n", if closed { "Z" } else { "" }));
    }

    /// A circle around a point.
    pub fn circle(&mut self, at: (f64, f64), radius: f64, style: &str) {
        let (x, y, radius, style) = (Pixels(at.0), Pixels(at.1), Pixels(radius), Escaped(style));
        self.put(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" style=\"{style}\"/>\n"));
    }

    /// A text of the style class `class`.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let (x, y, anchor, class) = (Pixels(at.0), Pixels(at.1), anchor.name(), Escaped(class));
        let text = Escaped(text);
        self.put(format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>\n"));
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut canvas = Canvas::new(10.0, 10.0, "#fff", "", "a < b & \"c\"");
        canvas.text((1.0, 2.04), Anchor::End, "x", "</text><script>\u{0}&");
        let text = canvas.finish();
        assert!(text.contains("a &lt; b &amp; &quot;c&quot;"));
        assert!(text.contains("y=\"2\" text-anchor=\"end\" class=\"x\">&lt;/text&gt;&lt;script&gt;&amp;</text>"));
    }
}
