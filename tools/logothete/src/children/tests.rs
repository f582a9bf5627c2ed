//! Children that start, tell, die, and are ended.

use super::*;

/// A shell that runs `script`; the option that [`Children::spawn`] appends becomes an argument of it and is not
/// looked at.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn lines_for_the_parent_carry_facts() {
    let Some(Told::Ready(ready)) = parse_told("ready role=replica transport=io_uring and more") else {
        panic!("a ready line");
    };
    assert_eq!(ready.get("role").map(String::as_str), Some("replica"));
    assert_eq!(ready.get("transport").map(String::as_str), Some("io_uring"));
    assert_eq!(ready.len(), 2);
    assert!(matches!(parse_told("done operations=7"), Some(Told::Done(done)) if done["operations"] == "7"));
    assert_eq!(parse_told("already=1"), None);
    assert_eq!(parse_told(""), None);
}

#[test]
fn waits_for_every_child_and_ends_them() {
    let mut children = Children::new(Diagnostics::Keep);
    let one = children.spawn("one", &mut shell("echo ready n=1; exec sleep 1000")).unwrap();
    let two = children.spawn("two", &mut shell("echo noise; echo ready n=2; exec sleep 1000")).unwrap();
    let ready = children.wait_ready(LONG, &AtomicBool::new(false)).unwrap();
    let numbers: Vec<_> = ready.iter().map(|facts| facts["n"].as_str()).collect();
    assert_eq!(numbers, ["1", "2"]);
    assert_eq!(children.living(), 2);
    drop(children);
    assert!(!is_alive(one) && !is_alive(two));
}

#[test]
fn what_a_child_did_is_heard_after_its_end() {
    let mut children = Children::new(Diagnostics::Keep);
    let script = "trap 'echo done operations=7; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    children.spawn("worker", &mut shell(script)).unwrap();
    children.spawn("silent", &mut shell("echo ready; exec sleep 1000")).unwrap();
    children.wait_ready(LONG, &AtomicBool::new(false)).unwrap();
    children.stop();
    let done = children.done();
    assert_eq!(done[0].as_ref().unwrap()["operations"], "7");
    assert_eq!(done[1], None);
}

#[test]
fn a_child_that_ignores_sigterm_is_killed() {
    let mut children = Children::new(Diagnostics::Keep);
    let pid = children.spawn("stubborn", &mut shell("trap '' TERM; echo ready; while :; do sleep 1; done")).unwrap();
    children.wait_ready(LONG, &AtomicBool::new(false)).unwrap();
    children.stop();
    assert!(!is_alive(pid));
}

#[test]
fn a_stopped_child_is_ended() {
    let mut children = Children::new(Diagnostics::Keep);
    let pid = children.spawn("stopped", &mut shell("echo ready; kill -STOP $$; exec sleep 1000")).unwrap();
    children.wait_ready(LONG, &AtomicBool::new(false)).unwrap();
    children.stop();
    assert!(!is_alive(pid));
}

#[test]
fn one_child_is_signalled_and_the_others_are_not() {
    let mut children = Children::new(Diagnostics::Keep);
    let one = children.spawn("one", &mut shell("echo last words >&2; echo ready; exec sleep 1000")).unwrap();
    let two = children.spawn("two", &mut shell("echo ready; exec sleep 1000")).unwrap();
    children.wait_ready(LONG, &AtomicBool::new(false)).unwrap();
    assert!(children.signal_one(one, Signal::KILL));
    let begin = Instant::now();
    let mut deaths = Vec::new();
    while deaths.is_empty() && begin.elapsed() < LONG {
        deaths = children.deaths();
    }
    assert_eq!(deaths.iter().map(|death| death.pid).collect::<Vec<_>>(), [one]);
    assert!(!children.signal_one(one, Signal::KILL), "it has ended");
    assert!(!children.signal_one(std::process::id(), Signal::CONT), "no child");
    assert!(is_alive(two));
    let lines = children.last_lines();
    assert!(lines.contains(&format!("one (process {one}):\n    last words\n")), "{lines}");
}

#[test]
fn what_a_child_says_once_it_is_ready_is_news() {
    let mut children = Children::new(Diagnostics::Keep);
    let script = "trap 'echo it happened >&2' USR1; echo ready; while :; do sleep 0.01; done";
    let pid = children.spawn("one", &mut shell(script)).unwrap();
    children.wait_ready(LONG, &AtomicBool::new(false)).unwrap();
    let before = Instant::now();
    children.signal_one(pid, Signal::USR1);
    let mut news = Vec::new();
    while news.is_empty() && before.elapsed() < LONG {
        news = children.news();
    }
    assert_eq!(news[0].1, "one: it happened");
    assert!(news.len() == 1 && news[0].0 >= before && children.news().is_empty(), "it was told once");
}

#[test]
fn a_death_is_reported_with_status_and_last_lines() {
    let mut children = Children::new(Diagnostics::Keep);
    let script = "i=0; while [ $i -lt 30 ]; do echo line $i >&2; i=$((i+1)); done; exit 3";
    let pid = children.spawn("replica 2", &mut shell(script)).unwrap();
    let error = children.wait_ready(LONG, &AtomicBool::new(false)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("replica 2 (process {pid}) ended with exit status 3:\n    line 10\n")), "{text}");
    assert!(text.ends_with("    line 29"), "{text}");
    assert_eq!(children.living(), 0);
    assert!(children.deaths().is_empty(), "a death is reported once");

    let mut children = Children::new(Diagnostics::Keep);
    children.spawn("driver", &mut shell("kill -KILL $$")).unwrap();
    let error = children.wait_ready(LONG, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().ends_with("ended by signal 9"), "{error}");
}

#[test]
fn waiting_ends_with_the_time_and_with_a_signal() {
    let mut children = Children::new(Diagnostics::Keep);
    children.spawn("slow", &mut shell("exec sleep 1000")).unwrap();
    let error = children.wait_ready(Duration::ZERO, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.to_string(), "slow was not ready after 0 s");
    let error = children.wait_ready(LONG, &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(error, ChildError::Interrupted));
}

#[test]
fn what_cannot_be_started_is_named() {
    let mut children = Children::new(Diagnostics::Keep);
    let error = children.spawn("ghost", &mut Command::new("/nonexistent/program")).unwrap_err();
    assert!(error.to_string().starts_with("ghost could not be started: "), "{error}");
}

#[test]
fn another_parent_is_noticed() {
    let error = die_with_parent(u32::MAX).unwrap_err();
    assert_eq!(error, "the parent process 4294967295 has ended");
    rustix::process::set_parent_process_death_signal(None).expect("the test's thread is as before");
}
