//! What lies on disk: accounts, certificates with their keys, and what is known of each.
//!
//! Directories are for their owner alone, and so is every file. A file is written beside its place, brought to disk, and
//! moved there, so that whoever reads finds the old one or the new one, whole. Key and chain are one file for the same reason.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use instant_acme::AccountCredentials;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::renewal::Window;
use crate::model::{CertificateFacts, Timestamp};
use crate::net::certificate::{self, ServerCertificate};
use crate::net::examine::{facts, hex};

/// The directory of one authority.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    dir: PathBuf,
}

/// What is known of one certificate besides itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The directory that issued it.
    #[serde(default)]
    pub(super) directory: String,
    /// The hosts that it was ordered for.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    /// When it was issued.
    #[serde(default)]
    pub(super) issued_at: Option<Timestamp>,
    /// When its authority wants it to be renewed.
    #[serde(default)]
    pub(super) window: Option<Window>,
    /// When its authority is to be asked that again.
    #[serde(default)]
    pub(super) ask_at: Timestamp,
    /// When certificates of this name were asked for, oldest first.
    #[serde(default)]
    pub(super) asked_for: Vec<Timestamp>,
    /// Attempts in a row that came to nothing.
    #[serde(default)]
    pub(super) failures: u32,
    /// Not before this is there another one.
    #[serde(default)]
    pub(super) retry_at: Timestamp,
    /// Why the last one came to nothing, and when.
    #[serde(default)]
    pub(super) error: Option<(Timestamp, String)>,
}

/// A certificate as it lies there.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) served: Arc<ServerCertificate>,
    pub(super) facts: CertificateFacts,
}

impl Keep {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The account with the authority of this directory; `None`: there is none, or it cannot be read.
    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        let text = fs::read(self.account_file(directory)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(super) fn put_account(
        &self,
        directory: &str,
        account: &AccountCredentials,
    ) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(account)?;
        put(&self.account_file(directory), &text)
    }

    /// Lets go of an account that its authority does not know.
    pub(super) fn forget_account(&self, directory: &str) {
        // One that is not there is what is wanted.
        drop(fs::remove_file(self.account_file(directory)));
    }

    /// Another directory is another account: going from staging to production and back keeps both.
    fn account_file(&self, directory: &str) -> PathBuf {
        let digest = digest(&SHA256, directory.as_bytes());
        let word = hex(&digest.as_ref()[..8]);
        self.dir.join(format!("account-{word}.json"))
    }

    /// What is known of the certificate of this name; nothing when it cannot be read.
    pub(super) fn record(&self, name: &str) -> Record {
        let text = fs::read(self.record_file(name)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn put_record(&self, name: &str, record: &Record) -> io::Result<()> {
        put(&self.record_file(name), &serde_json::to_vec_pretty(record)?)
    }

    fn record_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// The certificate of this name; `None`: there is none that could be served.
    pub(super) fn certificate(&self, name: &str) -> Option<Stored> {
        read(&self.dir.join(format!("{name}.pem")))
    }

    /// Checks that key and chain can be served and are wanted, and puts them in place.
    ///
    /// # Errors
    /// When they cannot be served or not be written, in one line; what was there before stays.
    pub(super) fn put_certificate(
        &self,
        name: &str,
        key: &str,
        chain: &str,
        is_wanted: impl Fn(&CertificateFacts) -> Result<(), String>,
    ) -> Result<Stored, String> {
        let place = self.dir.join(format!("{name}.pem"));
        let told = |error: io::Error| format!("cannot write {}: {error}", place.display());
        let beside = write_beside(&place, format!("{key}{chain}").as_bytes()).map_err(told)?;
        let loaded = ServerCertificate::load(&beside, &beside);
        let stored = match loaded {
            Ok(_) => read(&beside).ok_or_else(|| "the chain cannot be read".to_owned()),
            Err(error) => Err(format!("what was issued cannot be served: {error}")),
        };
        let stored = stored.and_then(|stored| is_wanted(&stored.facts).map(|()| stored));
        if stored.is_ok() {
            move_to(&beside, &place).map_err(told)?;
        } else {
            // What is not whole is of no use to anybody.
            drop(fs::remove_file(&beside));
        }
        stored
    }
}

fn read(path: &Path) -> Option<Stored> {
    let served = ServerCertificate::load(path, path).ok()?;
    let chain = certificate::certificates(path).ok()?;
    Some(Stored {
        served: Arc::new(served),
        facts: facts(chain.first()?)?,
    })
}

fn put(place: &Path, text: &[u8]) -> io::Result<()> {
    let beside = write_beside(place, text)?;
    move_to(&beside, place)
}

fn write_beside(place: &Path, text: &[u8]) -> io::Result<PathBuf> {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = place.with_file_name(name);
    // One of a crash may have been left with other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(beside)
}

fn move_to(beside: &Path, place: &Path) -> io::Result<()> {
    fs::rename(beside, place)?;
    // The name is on disk when its directory is.
    match place.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone_and_comes_back() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("acme/le");
        let keep = Keep::open(&dir).unwrap();
        let (key, chain) = made("shop.test");
        let stored = keep
            .put_certificate("shop", &key, &chain, |_| Ok(()))
            .unwrap();
        assert_eq!(stored.facts.names, ["shop.test"]);
        let record = Record {
            directory: "https://ca.test".to_owned(),
            failures: 2,
            error: Some((Timestamp::from_secs(7), "no".to_owned())),
            ..Record::default()
        };
        keep.put_record("shop", &record).unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&temp.path().join("acme")), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
        let keep = Keep::open(&dir).unwrap();
        assert_eq!(keep.record("shop"), record);
        let again = keep.certificate("shop").unwrap();
        assert_eq!(again.facts.sha256, stored.facts.sha256);
        assert_eq!(keep.record("other"), Record::default());
        assert!(keep.certificate("other").is_none());
    }

    #[test]
    fn a_pair_that_does_not_belong_together_leaves_the_old_one() {
        let temp = tempfile::tempdir().unwrap();
        let keep = Keep::open(temp.path()).unwrap();
        let (key, chain) = made("shop.test");
        let (other, _) = made("shop.test");
        keep.put_certificate("shop", &key, &chain, |_| Ok(()))
            .unwrap();
        let put = |key: &str, chain: &str| keep.put_certificate("shop", key, chain, |_| Ok(()));
        let error = put(&other, &chain).unwrap_err();
        assert!(error.contains("cannot be served"), "{error}");
        assert!(put(&key, "").is_err());
        assert!(keep.certificate("shop").is_some());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_behind_is_in_nobodys_way() {
        let temp = tempfile::tempdir().unwrap();
        let keep = Keep::open(temp.path()).unwrap();
        fs::write(temp.path().join("shop.json.new"), "half").unwrap();
        keep.put_record("shop", &Record::default()).unwrap();
        fs::write(temp.path().join("shop.json"), "{ half").unwrap();
        assert_eq!(keep.record("shop"), Record::default());
    }
}
