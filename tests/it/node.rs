//! A node as a process: its directory, its ports, and its end.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::Client;

/// Ports of the tests' nodes. Nothing else on the machine is given one of these by itself.
const PORTS: std::ops::Range<u16> = 20_000..21_900;
/// Longest wait for anything.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Names a folder in which directories of nodes stay that were stopped cleanly; `tests/dumps/run`
/// lets Kafka's DumpLogSegments look into them.
const KEEP_DIRS: &str = "OTTLA_KEEP_DIRS";
/// A log directory is at most so deep in a test's directory.
const DEPTH_MAX: usize = 2;

/// A directory that is removed when the test is over, or kept if that is asked for.
pub struct TempDir {
    path: PathBuf,
    is_damaged: AtomicBool,
}

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let test = std::thread::current().name().unwrap_or("test").replace("::", ".");
        let name = format!("ottla-it-{}-{count}-{test}", std::process::id());
        let folder = std::env::var_os(KEEP_DIRS).map_or_else(std::env::temp_dir, PathBuf::from);
        let path = folder.join(name);
        fs::create_dir_all(&path).unwrap();
        TempDir { path, is_damaged: AtomicBool::new(false) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that the test has damaged a file here, so that nobody wonders at what Kafka finds.
    pub fn is_damaged(&self) {
        self.is_damaged.store(true, Ordering::Relaxed);
    }

    /// Whether all that happened to the log directories here was done by nodes that were stopped.
    fn is_worth_a_look(&self) -> bool {
        let (mut formatted, mut locked) = (false, false);
        let mut folders = vec![(self.path.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            formatted |= folder.join("meta.properties").exists();
            locked |= folder.join(".lock").exists();
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if depth < DEPTH_MAX && entry.path().is_dir() {
                    folders.push((entry.path(), depth + 1));
                }
            }
        }
        formatted && !locked && !self.is_damaged.load(Ordering::Relaxed)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if std::env::var_os(KEEP_DIRS).is_none() || failed || !self.is_worth_a_look() {
            // What is left lies in the system's directory for such things.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A port that is held for somebody, also against other runs on this machine: between the look and
/// the start of the node, another run's node might take it, and answer in its place.
struct HeldPort {
    port: u16,
    _lock: File,
}

impl HeldPort {
    /// Holds a port, if nobody else does or listens on it.
    fn try_hold(port: u16) -> Option<HeldPort> {
        let folder = std::env::temp_dir().join("ottla-it-ports");
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join(port.to_string())).unwrap();
        lock.try_lock().ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some(HeldPort { port, _lock: lock })
    }
}

/// A port that nobody listens on, and that no other node gets as long as it is held.
fn hold_port() -> HeldPort {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % u32::from(PORTS.end - PORTS.start);
    loop {
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + ((first + offset) % u32::from(PORTS.end - PORTS.start)) as u16;
        if let Some(held) = HeldPort::try_hold(port) {
            return held;
        }
    }
}

/// A port that nobody listens on, and that no other node gets while this process runs.
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<HeldPort>> = Mutex::new(Vec::new());
    let held = hold_port();
    let port = held.port;
    HELD.lock().unwrap().push(held);
    port
}

/// A name that no other test uses.
pub fn fresh(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// How a node is started.
pub struct Setup {
    dir: TempDir,
    /// Port for clients and for the quorum.
    pub ports: [u16; 2],
    _held: [HeldPort; 2],
    overrides: Vec<(String, String)>,
}

impl Setup {
    pub fn new() -> Setup {
        let held = [hold_port(), hold_port()];
        let ports = [held[0].port, held[1].port];
        let overrides = [
            // The records of these tests are of 2023.
            ("log.retention.ms", "-1"),
            // Nobody else comes.
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Setup { dir: TempDir::new(), ports, _held: held, overrides }
    }

    pub fn with(mut self, key: &str, value: impl ToString) -> Setup {
        self.overrides.push((key.to_owned(), value.to_string()));
        self
    }

    /// The node's data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory around it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// To be called where a test damages a file on purpose: see [`TempDir::is_damaged`].
    pub fn is_damaged(&self) {
        self.dir.is_damaged();
    }

    fn output(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    /// What the node is configured with, the keys of [`Setup::with`] last.
    pub fn overrides(&self) -> Vec<(String, String)> {
        let [broker, controller] = self.ports;
        let listeners =
            format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
        let mut all = vec![
            ("log.dirs".to_owned(), self.data().display().to_string()),
            ("listeners".to_owned(), listeners),
        ];
        all.extend(self.overrides.iter().cloned());
        all
    }

    /// The same as arguments.
    pub fn arguments(&self) -> Vec<String> {
        let all = self.overrides().into_iter();
        all.flat_map(|(key, value)| ["--override".to_owned(), format!("{key}={value}")]).collect()
    }

    /// Starts the process; what it prints goes to files.
    pub fn spawn(&self, command: &mut Command) -> Process {
        let file = |name| File::create(self.dir.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Process { child: command.spawn().unwrap() }
    }

    /// Starts the node and waits until clients can connect.
    pub fn start(self) -> Node {
        let command = |setup: &Setup| {
            let mut command = binary();
            command.args(setup.arguments());
            command
        };
        Node::from_command(command, self)
    }

    /// Starts a node that must not come up; its standard error, once it has ended with `code`.
    pub fn fails_with(&self, code: i32, command: &mut Command) -> String {
        let mut process = self.spawn(command);
        let status = process.wait();
        let (out, err) = (self.stdout(), self.stderr());
        assert_eq!(status.code(), Some(code), "{out}{err}");
        assert!(!out.contains("Kafka Server started"), "{out}");
        err
    }
}

/// The built binary.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ottla"))
}

/// Runs a node in a mount namespace of its own, behind a line of shell that sets it up.
pub fn in_own_mounts(setup: &Setup, prepare: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!("set -e; {prepare}; exec \"$0\" \"$@\"");
    command.args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_ottla")]);
    command.args(setup.arguments());
    command
}

/// A process that is killed when it goes out of scope.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends it as a power cut would, but for the page cache.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A directory that is kept is one of a node that was stopped.
        if std::env::var_os(KEEP_DIRS).is_some() && !self.has_ended() {
            self.terminate();
            let deadline = Instant::now() + WAIT_MAX;
            while !self.has_ended() && Instant::now() < deadline {
                sleep(Duration::from_millis(2));
            }
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that serves.
pub struct Node {
    process: Option<Process>,
    pub setup: Setup,
    /// A broker that was there before the tests.
    outside: Option<SocketAddr>,
}

impl Node {
    /// An ordinary node, or the broker that the tests are to talk to.
    pub fn start() -> Node {
        let setup = Setup::new();
        match outside() {
            Some(address) => Node { process: None, setup, outside: Some(address) },
            None => setup.start(),
        }
    }

    /// Whether this is a broker that the tests did not start.
    pub fn is_outside(&self) -> bool {
        self.outside.is_some()
    }

    /// A node that another command line starts.
    pub fn from_command(command: impl FnOnce(&Setup) -> Command, setup: Setup) -> Node {
        let process = setup.spawn(&mut command(&setup));
        let mut node = Node { process: Some(process), setup, outside: None };
        node.wait_started();
        node
    }

    /// What is left of it, for another start.
    pub fn into_setup(self) -> Setup {
        self.setup
    }

    /// How it was started.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    fn wait_started(&mut self) {
        let address = self.address();
        let process = self.process.as_mut().unwrap();
        let setup = &self.setup;
        wait_until("the node starts", || {
            assert!(!process.has_ended(), "{}{}", setup.stdout(), setup.stderr());
            TcpStream::connect(address).is_ok()
        });
    }

    pub fn address(&self) -> SocketAddr {
        self.outside.unwrap_or(SocketAddr::from(([127, 0, 0, 1], self.setup.ports[0])))
    }

    /// Where its controller listens; one above the clients' port for a broker from outside.
    pub fn controller_address(&self) -> SocketAddr {
        match self.outside {
            Some(address) => SocketAddr::new(address.ip(), address.port() + 1),
            None => SocketAddr::from(([127, 0, 0, 1], self.setup.ports[1])),
        }
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// Stops it cleanly.
    pub fn stop(&mut self) {
        let process = self.process.as_mut().unwrap();
        process.terminate();
        let status = process.wait();
        assert_eq!(status.code(), Some(0), "{}{}", self.setup.stdout(), self.setup.stderr());
    }

    /// Starts it again with the same directory and ports.
    pub fn start_again(&mut self) {
        self.process = Some(self.setup.spawn(binary().args(self.setup.arguments())));
        self.wait_started();
    }

    /// Kills it and starts it again.
    pub fn crash(&mut self) {
        self.process().kill();
        self.start_again();
    }
}

fn outside() -> Option<SocketAddr> {
    std::env::var("OTTLA_IT_BROKER").ok().map(|address| address.parse().unwrap())
}
