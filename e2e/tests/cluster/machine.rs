//! What a cluster could leave on the machine, as a set of lines to compare before and after.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Directories in which system programs keep files.
const FILES: &[&str] = &[
    "/run",
    "/var/lib",
    "/var/log",
    "/etc",
    "/opt",
    "/usr/libexec",
];
/// What other programs of the machine change at any time.
const OTHERS: &[&str] = &[
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/log/apt",
    "/var/lib/systemd",
    "/run/systemd",
    "/run/user",
    // util-linux notes there what any mount command did.
    "/run/mount",
    "/var/log/journal",
];
/// Kernel settings that are nobody's but ours to change; the network's counters and tables are left out.
const SETTINGS: &[&str] = &[
    "/proc/sys/vm",
    "/proc/sys/kernel/keys",
    "/proc/sys/net/ipv4/conf",
    "/proc/sys/net/ipv6/conf",
];
const SINGLE_SETTINGS: &[&str] = &[
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/net/ipv4/ip_forward",
];

/// Mounts, namespaces, links, addresses, routes, rules, tables, cgroups, settings, files and marked processes.
pub fn snapshot() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut add =
        |kind: &str, text: &str| lines.extend(text.lines().map(|line| format!("{kind}: {line}")));
    add("mount", &fs::read_to_string("/proc/self/mounts").unwrap());
    for (kind, command) in [
        ("link", "ip -oneline -brief link"),
        ("address", "ip -oneline -brief address"),
        ("route", "ip -oneline route show table all"),
        ("rule", "ip -oneline rule"),
        ("nft", "nft --stateless list ruleset"),
        (
            "namespace",
            "lsns --noheadings --raw --output NS,TYPE --type net --type mnt",
        ),
    ] {
        let mut words = command.split(' ');
        let output = Command::new(words.next().unwrap())
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}");
        add(kind, &String::from_utf8(output.stdout).unwrap());
    }
    let paths = |roots: &[&str], keep: &dyn Fn(&Path) -> bool| {
        let found: Vec<String> = roots
            .iter()
            .flat_map(|root| below(Path::new(root), keep))
            .map(|path| path.display().to_string())
            .collect();
        found.join("\n")
    };
    add("cgroup", &paths(&["/sys/fs/cgroup"], &|path| path.is_dir()));
    add("file", &paths(FILES, &|_| true));
    for setting in SETTINGS
        .iter()
        .flat_map(|root| below(Path::new(root), &|path| path.is_file()))
        .chain(SINGLE_SETTINGS.iter().map(PathBuf::from))
    {
        // Some settings can only be written.
        if let Ok(value) = fs::read_to_string(&setting) {
            add(
                "setting",
                &format!(
                    "{} = {}",
                    setting.display(),
                    value.trim().replace('\n', " ")
                ),
            );
        }
    }
    lines
}

fn below(root: &Path, keep: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if OTHERS.iter().any(|other| path.starts_with(other)) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path, keep));
        }
        if keep(&path) {
            found.push(path);
        }
    }
    found
}

/// Fails with what came and what went.
pub fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let (came, went): (Vec<_>, Vec<_>) = (
        after.difference(before).collect(),
        before.difference(after).collect(),
    );
    assert!(
        came.is_empty() && went.is_empty(),
        "came: {came:#?}\nwent: {went:#?}"
    );
}
