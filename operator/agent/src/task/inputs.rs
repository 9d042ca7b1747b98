//! C-09: the harness's inputs are what the plan says, and unpacked where no user code can change
//! them.

mod unpack;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dryrun_core::{
    agent_api::tasks::{VerifyInput, VerifyInputsTask},
    digest,
    run::facts::{InputFact, InputFacts},
};
use sha2::{Digest, Sha256};

use crate::{
    directory::{self, Content},
    failure::{self, Result},
};

/// Verifies every input and unpacks the right ones; when all are in place, since two may share a
/// destination, makes them read-only and takes the digest of every destination.
pub(super) async fn run(task: VerifyInputsTask) -> Result<InputFacts> {
    let mut facts =
        directory::off_thread(move || Ok(task.inputs.iter().map(place).collect::<Vec<_>>()))
            .await?;
    for fact in facts.iter_mut().filter(|fact| fact.problem.is_none()) {
        match seal(Path::new(&fact.destination)).await {
            Ok(content) => (fact.files, fact.tree_digest) = (content.files(), content.digest()),
            Err(error) => fact.problem = Some(error.message),
        }
    }
    Ok(InputFacts { inputs: facts })
}

/// Looks at verified inputs again, and changes nothing: the files as they are mounted, and what was
/// unpacked from them.
pub(super) async fn digest_again(task: VerifyInputsTask) -> Result<InputFacts> {
    let mut inputs = Vec::new();
    for input in &task.inputs {
        let mut fact = InputFact {
            destination: input.destination.clone(),
            ..InputFact::default()
        };
        match fs::read(&input.source) {
            Ok(bytes) => fact.sha256 = digest::hex(&Sha256::digest(&bytes)),
            Err(error) => fact.problem = Some(format!("{}: {error}", input.source)),
        }
        match Content::read(Path::new(&input.destination)).await {
            Ok(content) => {
                (fact.files, fact.tree_digest) = (content.files(), content.digest());
            }
            Err(error) => fact.problem = Some(error.message),
        }
        inputs.push(fact);
    }
    Ok(InputFacts { inputs })
}

async fn seal(destination: &Path) -> Result<Content> {
    directory::set_modes(destination, 0o555, 0o444)
        .map_err(|error| failure::file(destination, &error))?;
    Content::read(destination).await
}

/// Verifies one input and unpacks or copies it.
fn place(input: &VerifyInput) -> InputFact {
    let mut fact = InputFact {
        destination: input.destination.clone(),
        ..InputFact::default()
    };
    fact.problem = match fs::read(&input.source) {
        Ok(bytes) => {
            fact.sha256 = digest::hex(&Sha256::digest(&bytes));
            if fact.sha256 == input.sha256 {
                write(input, &bytes).err().map(|error| error.to_string())
            } else {
                Some(format!(
                    "sha256 is {}, declared is {}",
                    fact.sha256, input.sha256
                ))
            }
        }
        Err(error) => Some(format!("{}: {error}", input.source)),
    };
    fact
}

/// Writes what was verified, not what the file may hold by now.
fn write(input: &VerifyInput, bytes: &[u8]) -> io::Result<()> {
    let (source, destination) = (Path::new(&input.source), PathBuf::from(&input.destination));
    fs::create_dir_all(&destination)?;
    if source
        .extension()
        .is_some_and(|extension| extension == "tar")
    {
        return unpack::unpack(bytes, &destination);
    }
    let name = source
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the input has no name"))?;
    fs::write(destination.join(name), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_placed_only_with_its_digest() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("harness.py");
        fs::write(&source, "print()").unwrap();
        let input = |destination: &str, sha256: String| VerifyInput {
            source: source.display().to_string(),
            destination: directory.path().join(destination).display().to_string(),
            sha256,
        };
        let right = digest::hex(&Sha256::digest("print()"));
        let task = VerifyInputsTask {
            inputs: vec![
                input("right", right.clone()),
                input("wrong", "0".repeat(64)),
            ],
        };
        let facts = run(task).await.unwrap();
        assert_eq!(
            (facts.inputs[0].files, &facts.inputs[0].problem),
            (1, &None)
        );
        assert!(
            facts.inputs[1]
                .problem
                .as_ref()
                .is_some_and(|problem| problem.contains(&right))
        );
        assert!(
            directory
                .path()
                .join("right/harness.py")
                .metadata()
                .unwrap()
                .permissions()
                .readonly()
        );
        assert!(!directory.path().join("wrong").exists());
    }

    #[tokio::test]
    async fn every_change_of_a_placed_input_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("harness.py");
        fs::write(&source, "print()").unwrap();
        let placed = directory.path().join("placed");
        let task = VerifyInputsTask {
            inputs: vec![VerifyInput {
                source: source.display().to_string(),
                destination: placed.display().to_string(),
                sha256: digest::hex(&Sha256::digest("print()")),
            }],
        };
        let before = run(task.clone()).await.unwrap();
        assert_eq!(digest_again(task.clone()).await.unwrap(), before);

        let file = placed.join("harness.py");
        type Act<'a> = &'a dyn Fn();
        let undone: [(Act<'_>, Act<'_>); 4] = [
            // One changed byte.
            (&|| fs::write(&file, "print!)").unwrap(), &|| {
                fs::write(&file, "print()").unwrap()
            }),
            // An added file.
            (&|| fs::write(placed.join("more"), "").unwrap(), &|| {
                fs::remove_file(placed.join("more")).unwrap()
            }),
            // A link out of the tree.
            (
                &|| std::os::unix::fs::symlink("/etc/passwd", placed.join("link")).unwrap(),
                &|| fs::remove_file(placed.join("link")).unwrap(),
            ),
            // Another file in the ConfigMap.
            (&|| fs::write(&source, "other").unwrap(), &|| {
                fs::write(&source, "print()").unwrap()
            }),
        ];
        for (i, (change, undo)) in undone.iter().enumerate() {
            change();
            assert_ne!(digest_again(task.clone()).await.unwrap(), before, "{i}");
            undo();
            assert_eq!(digest_again(task.clone()).await.unwrap(), before, "{i}");
        }
    }
}
