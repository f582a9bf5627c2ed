//! What one process decides for itself: `replica-I.toml` and `driver-C.toml`.

use super::agreed::read_text;
use super::document::{Document, Section};
use super::{Arrangement, Cluster, ConfigError, FanOut, Fault, Idle, Transport, keys};
use logothete_crypto::Identity;
use std::path::{Path, PathBuf};

/// Most bytes of the path of a Unix socket: `sun_path` of 108 bytes, less the closing zero.
pub const SESSION_PATH_BYTES_MAX: usize = 107;

/// The local settings of a replica. Relative paths in the file are relative to the file's directory; here they are
/// complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaLocal {
    /// The file of the secret key.
    pub key: PathBuf,
    /// Where the replica keeps its files.
    pub data_directory: PathBuf,
    /// How datagrams reach the kernel.
    pub transport: Transport,
    /// How a packet for many reaches them.
    pub fan_out: FanOut,
    /// How the agents are put on threads.
    pub arrangement: Arrangement,
    /// What a thread does while it has nothing to do.
    pub idle: Idle,
    /// The cores to pin threads to, in the order of the threads; empty: no pinning.
    pub cores: Vec<u16>,
}

/// The local settings of a driver. Relative paths in the file are relative to the file's directory; here they are
/// complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverLocal {
    /// The file of the secret key.
    pub key: PathBuf,
    /// Where the driver keeps its files.
    pub data_directory: PathBuf,
    /// The Unix socket on which applications open their sessions.
    pub session: PathBuf,
    /// How datagrams reach the kernel.
    pub transport: Transport,
    /// How a packet for many reaches them.
    pub fan_out: FanOut,
    /// What the thread does while it has nothing to do.
    pub idle: Idle,
    /// The core to pin the driver to; empty: no pinning.
    pub cores: Vec<u16>,
}

impl ReplicaLocal {
    /// The file of replica `id` beside the `cluster.toml` at `cluster_file`.
    pub fn file(cluster_file: &Path, id: u8) -> PathBuf {
        beside(cluster_file, &format!("replica-{id}.toml"))
    }

    /// What `init` writes for replica `id` of a cluster in `directory`.
    pub fn standard(directory: &Path, id: u8) -> Self {
        Self {
            key: directory.join(format!("replica-{id}.key")),
            data_directory: directory.join(format!("replica-{id}")),
            transport: Transport::Auto,
            fan_out: FanOut::Auto,
            arrangement: Arrangement::Auto,
            idle: Idle::Adaptive,
            cores: Vec::new(),
        }
    }

    /// Reads and checks a `replica-I.toml`.
    ///
    /// # Errors
    ///
    /// The first fault, with file, line, value and mend.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read_text(path)?)
    }

    /// Reads and checks the text of a `replica-I.toml`; `file` is named in errors, and its directory is where relative
    /// paths start.
    ///
    /// # Errors
    ///
    /// The first fault, with file, line, value and mend.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        let mut root = document.root();
        let local = Self {
            key: path(&mut root, file, "key")?,
            data_directory: path(&mut root, file, "data_directory")?,
            transport: root.named("transport")?.unwrap_or(Transport::Auto),
            fan_out: root.named("fan_out")?.unwrap_or(FanOut::Auto),
            arrangement: root.named("arrangement")?.unwrap_or(Arrangement::Auto),
            idle: root.named("idle")?.unwrap_or(Idle::Adaptive),
            cores: cores(&mut root)?,
        };
        root.finish()?;
        Ok(local)
    }

    /// The file that reads back as these settings when it stands in `directory`.
    pub fn render(&self, directory: &Path) -> String {
        let mut text =
            String::from("# What this replica decides for itself. Relative paths start at this file's directory.\n");
        push_line(&mut text, "key", &quoted_relative(&self.key, directory));
        push_line(&mut text, "data_directory", &quoted_relative(&self.data_directory, directory));
        push_transport(&mut text, self.transport, self.fan_out);
        text.push_str("# auto, shared (one thread), split (two threads).\n");
        push_line(&mut text, "arrangement", &format!("\"{}\"", self.arrangement));
        push_idle(&mut text, self.idle, &self.cores);
        text
    }

    /// Reads the secret key, and checks that it is that of replica `id`.
    ///
    /// # Errors
    ///
    /// When the cluster has no such replica, or the key file is refused: see [`keys::read`].
    pub fn identity(&self, cluster: &Cluster, id: u8) -> Result<Identity, ConfigError> {
        let count = cluster.replicas.len();
        let replica = cluster.replicas.get(usize::from(id)).ok_or_else(|| {
            let problem = format!("is not a replica of this cluster of {count}");
            Fault::new("id", id, problem, format!("use 0 to {}", count - 1)).at(&self.key, None)
        })?;
        keys::read(&self.key, &format!("replica {id}"), &replica.public_key)
    }
}

impl DriverLocal {
    /// The file of driver `client` beside the `cluster.toml` at `cluster_file`.
    pub fn file(cluster_file: &Path, client: u16) -> PathBuf {
        beside(cluster_file, &format!("driver-{client}.toml"))
    }

    /// What `init` writes for driver `client` of a cluster in `directory`.
    pub fn standard(directory: &Path, client: u16) -> Self {
        Self {
            key: directory.join(format!("driver-{client}.key")),
            data_directory: directory.join(format!("driver-{client}")),
            session: directory.join(format!("driver-{client}.sock")),
            transport: Transport::Auto,
            fan_out: FanOut::Auto,
            idle: Idle::Adaptive,
            cores: Vec::new(),
        }
    }

    /// Reads and checks a `driver-C.toml`.
    ///
    /// # Errors
    ///
    /// The first fault, with file, line, value and mend.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read_text(path)?)
    }

    /// Reads and checks the text of a `driver-C.toml`; `file` is named in errors, and its directory is where relative
    /// paths start.
    ///
    /// # Errors
    ///
    /// The first fault, with file, line, value and mend.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        let mut root = document.root();
        let session = path(&mut root, file, "session")?;
        let length = session.as_os_str().len();
        if length > SESSION_PATH_BYTES_MAX {
            return Err(root.refuse(
                "session",
                format!("\"{}\"", session.display()),
                format!("is a path of {length} bytes, and a Unix socket's has at most {SESSION_PATH_BYTES_MAX}"),
                "write a shorter path, such as /run/logothete/driver-0.sock",
            ));
        }
        let local = Self {
            key: path(&mut root, file, "key")?,
            data_directory: path(&mut root, file, "data_directory")?,
            session,
            transport: root.named("transport")?.unwrap_or(Transport::Auto),
            fan_out: root.named("fan_out")?.unwrap_or(FanOut::Auto),
            idle: root.named("idle")?.unwrap_or(Idle::Adaptive),
            cores: cores(&mut root)?,
        };
        root.finish()?;
        Ok(local)
    }

    /// The file that reads back as these settings when it stands in `directory`.
    pub fn render(&self, directory: &Path) -> String {
        let mut text =
            String::from("# What this driver decides for itself. Relative paths start at this file's directory.\n");
        push_line(&mut text, "key", &quoted_relative(&self.key, directory));
        push_line(&mut text, "data_directory", &quoted_relative(&self.data_directory, directory));
        text.push_str("# The Unix socket on which applications open their sessions.\n");
        push_line(&mut text, "session", &quoted_relative(&self.session, directory));
        push_transport(&mut text, self.transport, self.fan_out);
        push_idle(&mut text, self.idle, &self.cores);
        text
    }

    /// Reads the secret key, and checks that it is that of driver `client`.
    ///
    /// # Errors
    ///
    /// When the cluster has no such driver, or the key file is refused: see [`keys::read`].
    pub fn identity(&self, cluster: &Cluster, client: u16) -> Result<Identity, ConfigError> {
        let count = cluster.driver_count();
        if usize::from(client) >= count {
            let problem = format!("is not a driver of this cluster, which has {count}");
            let mend = format!("use 0 to {}", count - 1);
            return Err(Fault::new("client", client, problem, mend).at(&self.key, None));
        }
        let public_key = &cluster.clients[usize::from(client)];
        keys::read(&self.key, &format!("driver {client}"), public_key)
    }
}

/// The path of `name` in the directory of `file`.
pub(super) fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}

fn path(section: &mut Section<'_, '_>, file: &Path, key: &'static str) -> Result<PathBuf, ConfigError> {
    let text = section.text(key)?;
    let text = section.required(key, text)?;
    if text.is_empty() {
        return Err(section.refuse(key, "\"\"", "is empty", "write a path"));
    }
    Ok(beside(file, text))
}

fn cores(section: &mut Section<'_, '_>) -> Result<Vec<u16>, ConfigError> {
    let cores = section.integers::<u16>("cores")?.unwrap_or_default();
    for (place, core) in cores.iter().enumerate() {
        if cores[..place].contains(core) {
            let mend = "name each core once, or none for no pinning";
            return Err(section.refuse("cores", core, "is named twice", mend));
        }
    }
    Ok(cores)
}

fn push_line(text: &mut String, key: &str, value: &str) {
    text.push_str(&format!("{key} = {value}\n"));
}

fn push_transport(text: &mut String, transport: Transport, fan_out: FanOut) {
    text.push_str("# auto, io_uring or mmsg.\n");
    push_line(text, "transport", &format!("\"{transport}\""));
    text.push_str("# auto, multicast or unicast.\n");
    push_line(text, "fan_out", &format!("\"{fan_out}\""));
}

fn push_idle(text: &mut String, idle: Idle, cores: &[u16]) {
    text.push_str("# What a thread without work does: adaptive, yield, spin or park.\n");
    push_line(text, "idle", &format!("\"{idle}\""));
    text.push_str("# Cores to pin threads to, in the order of the threads; none: no pinning.\n");
    push_line(text, "cores", &format!("{cores:?}"));
}

/// The path as a TOML text, relative to `directory` where it lies in it.
fn quoted_relative(path: &Path, directory: &Path) -> String {
    let relative = path.strip_prefix(directory).unwrap_or(path);
    toml::Value::from(relative.to_string_lossy().as_ref()).to_string()
}
