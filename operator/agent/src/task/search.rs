//! C-11: nothing that the run has written holds a credential.

use dryrun_core::problem::Problem;
use std::{ffi::OsStr, fs, io::Read, path::Path};

use dryrun_core::{
    agent_api::tasks::SearchTask,
    leak::{Credential, Scanner},
    run::{
        credentials::{scenario_password, scenario_secret},
        facts::LeakFacts,
        id,
        layout::{SUPERUSER_FILE, TOKEN_FILE},
    },
};

use crate::{
    directory,
    failure::{self, Result},
    volume::{Listing, Volume},
};

/// The copy's log: what the server writes, and what it says before that. The canary was planted in
/// it.
pub(super) const SERVER_LOG: [&str; 2] = ["server/server.json", "server/server.log"];
/// Directory that user code has written.
pub(super) const HARNESS: &str = "harness/";
/// Bytes that are read at most: a sparse file may be longer than any volume.
const LIMIT: u64 = 32 << 30;
/// Characters of a scenario's secret that stand in its markers on purpose.
const SHOWN: usize = 16;

/// Searches everything below the task's directory.
pub(super) async fn run(secrets: &Path, task: SearchTask) -> Result<LeakFacts> {
    let secrets = secrets.to_owned();
    directory::off_thread(move || {
        let scanner = scanner(&credentials(&secrets, &task)?, &task)?;
        let volume = Volume::open(Path::new(&task.directory))?;
        Ok(search(&scanner, &volume, volume.list(), LIMIT))
    })
    .await
}

/// Every credential of the run, those that are made from others, and production's password.
pub(super) fn credentials(secrets: &Path, task: &SearchTask) -> Result<Vec<Credential>> {
    let mut credentials = Vec::new();
    let entries = fs::read_dir(secrets).map_err(|error| failure::file(secrets, &error))?;
    for entry in entries {
        let path = entry
            .map_err(|error| failure::file(secrets, &error))?
            .path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The kubelet's own: directories that the keys are links into.
        if name.starts_with("..") {
            continue;
        }
        let value = fs::read(&path).map_err(|error| failure::file(&path, &error))?;
        credentials.push(Credential::new(name, value));
    }
    // The agent's token is there under two names, and the other one says whose it is.
    credentials.sort_by_key(|credential| (credential.name == TOKEN_FILE, credential.name.clone()));
    if task.scenarios > 0 {
        let path = secrets.join(SUPERUSER_FILE);
        let superuser = fs::read_to_string(&path).map_err(|error| failure::file(&path, &error))?;
        let superuser = superuser.trim_end_matches(['\r', '\n']);
        for index in 0..task.scenarios {
            let password = scenario_password(superuser, &task.run_uid, index);
            credentials.push(Credential::new(format!("scenario-{index}"), password));
            let secret = scenario_secret(superuser, &task.run_uid, index);
            let hidden = secret.get(SHOWN..).unwrap_or_default();
            credentials.push(Credential::new(format!("scenario-{index}-secret"), hidden));
        }
    }
    Ok(credentials)
}

pub(super) fn scanner(credentials: &[Credential], task: &SearchTask) -> Result<Scanner> {
    let own = [
        id::bootstrap_role(&task.run_uid),
        id::restore_role(&task.run_uid),
    ];
    let roles: Vec<String> = task.roles.iter().cloned().chain(own).collect();
    Scanner::new(credentials.to_vec(), &roles)
        .map_err(|error| Problem::permanent("TooManyCredentials", error.to_string()))
}

/// Searches the files and all names. What user code wrote comes last: it can use up limits for
/// itself alone.
fn search(scanner: &Scanner, volume: &Volume, mut listing: Listing, limit: u64) -> LeakFacts {
    let mut facts = LeakFacts::default();
    scanner.search("names of files", &listing.names[..], &mut facts);
    listing.files.sort_by_key(|path| is_harness(path));
    let mut canary = false;
    for path in listing.files {
        let name = path.to_string_lossy();
        let left = limit.saturating_sub(facts.bytes);
        match volume.file(&path) {
            Ok(file) => {
                facts.canary = false;
                scanner.search(&name, file.take(left), &mut facts);
                canary |= facts.canary && SERVER_LOG.iter().any(|log| *log == path);
            }
            Err(error) => scanner.unread(&name, &error.to_string(), &mut facts),
        }
        if facts.bytes >= limit {
            let why = format!("neither its end nor what follows: {limit} bytes were searched");
            scanner.unread(&name, &why, &mut facts);
            break;
        }
    }
    facts.canary = canary;
    for (path, why) in listing.others {
        scanner.unread(&path.to_string_lossy(), &why, &mut facts);
    }
    facts
}

pub(super) fn is_harness(path: &OsStr) -> bool {
    path.as_encoded_bytes().starts_with(HARNESS.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dryrun_core::run::key;

    const SUPERUSER: &str = "Zk4mQ9xT2bV7nL8pR3wY6cJ1hG5sDfA0";
    const CANARY: &str = "aaaabbbbccccddddeeeeffffgggghhhh";
    const UID: &str = "0a1b2c3d-0000-4000-8000-000000000000";

    struct World(tempfile::TempDir, SearchTask);

    impl World {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for directory in ["secrets/..data", "evidence/server", "evidence/harness"] {
                fs::create_dir_all(root.path().join(directory)).unwrap();
            }
            let task = SearchTask {
                directory: root.path().join("evidence").display().to_string(),
                run_uid: UID.into(),
                scenarios: 2,
                roles: vec!["app".into()],
            };
            let world = Self(root, task);
            world.write("secrets/superuser", &format!("{SUPERUSER}\n"));
            world.write(&format!("secrets/{}", key::CANARY), CANARY);
            world
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.0.path().join(path), text).unwrap();
        }

        async fn search(&self) -> LeakFacts {
            run(&self.0.path().join("secrets"), self.1.clone())
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn derived_passwords_are_found_and_markers_are_none() {
        let world = World::new();
        let secret = scenario_secret(SUPERUSER, UID, 1);
        let marker = format!("dryrun scenario 1 begins {}", &secret[..SHOWN]);
        world.write("evidence/server/server.json", &marker);
        let facts = world.search().await;
        assert_eq!((facts.found_count, facts.texts), (0, 2));
        world.write(
            "evidence/harness/S1.log",
            &format!("{} {secret}", scenario_password(SUPERUSER, UID, 1)),
        );
        let found: Vec<_> = world
            .search()
            .await
            .found
            .into_iter()
            .map(|leak| leak.credential)
            .collect();
        assert_eq!(found, ["scenario-1", "scenario-1-secret"]);
    }

    #[tokio::test]
    async fn the_canary_counts_in_the_servers_log_alone() {
        let world = World::new();
        world.write("evidence/harness/server.json", CANARY);
        assert!(!world.search().await.canary);
        world.write("evidence/server/server.json", CANARY);
        let facts = world.search().await;
        assert!(facts.canary && facts.found.is_empty());
    }

    #[tokio::test]
    async fn a_secret_in_a_name_is_found_and_not_told() {
        let world = World::new();
        world.write(&format!("evidence/harness/{SUPERUSER}"), SUPERUSER);
        let facts = world.search().await;
        let places: Vec<_> = facts.found.iter().map(|leak| &*leak.place).collect();
        assert_eq!(places, ["names of files", "harness/[redacted superuser]"]);
    }

    #[test]
    fn what_lies_behind_the_limit_is_named() {
        let world = World::new();
        world.write("evidence/server/server.json", "0123456789");
        world.write("evidence/harness/S1.log", SUPERUSER);
        let volume = Volume::open(Path::new(&world.1.directory)).unwrap();
        let listing = Listing {
            names: Vec::new(),
            ..volume.list()
        };
        let credentials = credentials(&world.0.path().join("secrets"), &world.1).unwrap();
        let scanner = scanner(&credentials, &world.1).unwrap();
        let facts = search(&scanner, &volume, listing, 12);
        assert_eq!(facts.unread.len(), 1, "{facts:?}");
        assert!(facts.unread[0].starts_with("harness/S1.log: "));
    }
}
