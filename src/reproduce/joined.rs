//! Models of runs that lie in a file of several, so that they are on the disk once.
//!
//! A run ends with a model in a file of its own. Where that file is joined to others, a few bytes stand in its place that say
//! which file has the model now. They are believed only if it does: whatever is lost, removed or replaced, the run is not over.
//! A file of its own is removed after its place is written, which is written after the file of several is whole; so a process
//! may be killed anywhere, and at most a model is there twice.

use crate::ensemble::{Ensemble, Member};
use crate::fingerprint::Fingerprint;
use crate::model::Model;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The ending of what stands in the place of a model, and that of a model.
const PLACE: &str = "json";
const MODEL: &str = "safetensors";

/// What stands in the place of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// The file that has it, in the folder that the folder of single models is in.
    joined_in: String,
    /// What tells the model from others.
    fingerprint: String,
}

/// Models of runs by the names of their files, without endings.
#[derive(Debug, Default)]
pub struct Joined {
    folder: PathBuf,
    /// Those that are in a file of several.
    places: BTreeMap<String, Place>,
}

/// What tells a model from others, whatever else its file says.
fn fingerprint(model: &Model) -> String {
    Fingerprint::default().text(&model.fingerprint()).text(&format!("{:?}", model.standardisation)).to_string()
}

fn own(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{MODEL}"))
}

fn place(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{PLACE}"))
}

/// The members of a file beside `folder`; none where it is missing or no such file.
fn members(folder: &Path, file: &str) -> Vec<Member> {
    // What a file of this folder says is no way out of it.
    let plain = Path::new(file).file_name().is_some_and(|name| name == file);
    let path = folder.parent().filter(|_| plain).map(|beside| beside.join(file));
    path.and_then(|path| Ensemble::load(path).ok()).map_or_else(Vec::new, Ensemble::into_members)
}

impl Joined {
    /// Those of `folder` whose files have them.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = || folder.display().to_string();
        let mut found: BTreeMap<String, Vec<(String, Place)>> = BTreeMap::new();
        for entry in std::fs::read_dir(folder).with_context(shown)? {
            let path = entry.with_context(shown)?.path();
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
            if path.extension().is_none_or(|ending| ending != PLACE) {
                continue;
            }
            // One that is none says of no model where it is.
            let told = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Place>(&bytes).ok());
            if let Some(told) = told {
                found.entry(told.joined_in.clone()).or_default().push((name.to_owned(), told));
            }
        }
        let mut places = BTreeMap::new();
        for (file, told) in found {
            let there: BTreeSet<String> = members(folder, &file).iter().map(|m| fingerprint(&m.model)).collect();
            places.extend(told.into_iter().filter(|(_, place)| there.contains(&place.fingerprint)));
        }
        Ok(Self { folder: folder.to_owned(), places })
    }

    /// True when the model called `name` is in a file, its own or that of several.
    pub fn has(&self, name: &str) -> bool {
        own(&self.folder, name).exists() || self.places.contains_key(name)
    }

    /// The models of these names, in their order; each file of several is read once.
    ///
    /// # Errors
    /// Of a file that cannot be read, and for a model that is missing.
    pub fn models(&self, names: &[String]) -> Result<Vec<Model>> {
        let mut read: BTreeMap<&str, BTreeMap<String, Model>> = BTreeMap::new();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let file = own(&self.folder, name);
            let place = self.places.get(name).filter(|_| !file.exists());
            let Some(Place { joined_in, fingerprint: wanted }) = place else {
                all.push(Model::load(file)?);
                continue;
            };
            let there = read.entry(joined_in).or_insert_with(|| by_fingerprint(members(&self.folder, joined_in)));
            let model = there.get(wanted).with_context(|| format!("{joined_in} has lost the model of a fit"))?;
            all.push(model.clone());
        }
        Ok(all)
    }

    /// Gives models of others that `file` has, and that the models to be written to it are not, a file of their own again.
    ///
    /// # Errors
    /// Of a file that cannot be written.
    pub fn part_from(&mut self, file: &str, new: &Ensemble) -> Result<()> {
        let stay: BTreeSet<String> = new.members().iter().map(|member| fingerprint(&member.model)).collect();
        let lost = |place: &Place| place.joined_in == file && !stay.contains(&place.fingerprint);
        let names: Vec<String> = self.places.iter().filter(|(_, p)| lost(p)).map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        for (name, model) in names.iter().zip(self.models(&names)?) {
            let path = own(&self.folder, name);
            if !path.exists() {
                model.save(path)?;
            }
            self.places.remove(name);
            std::fs::remove_file(place(&self.folder, name)).with_context(|| name.clone())?;
        }
        Ok(())
    }

    /// Removes the files of the models called `names`, which the members of `file`, in this order, are.
    ///
    /// # Errors
    /// Of a file that cannot be written or removed.
    pub fn join(&mut self, file: &str, names: &[String], members: &[Member]) -> Result<()> {
        for (name, member) in names.iter().zip(members) {
            let told = Place { joined_in: file.to_owned(), fingerprint: fingerprint(&member.model) };
            let path = place(&self.folder, name);
            if self.places.get(name) != Some(&told) {
                crate::files::write_atomically(&path, serde_json::to_string(&told)? + "\n")?;
                self.places.insert(name.clone(), told);
            }
            match std::fs::remove_file(own(&self.folder, name)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| own(&self.folder, name).display().to_string());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn by_fingerprint(members: Vec<Member>) -> BTreeMap<String, Model> {
    members.into_iter().map(|member| (fingerprint(&member.model), member.model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Attention;
    use crate::model::Spec;

    fn model(seed: u64) -> Model {
        let method = Attention { embed: vec![3], attention: 2, ..Attention::default() };
        Model::new(Spec::new(method.into(), 4, 2), seed).unwrap()
    }

    /// Files of the folder, by the name and the ending.
    fn names(folder: &Path) -> Vec<String> {
        let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name().to_string_lossy().into_owned();
        let mut all: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
        all.sort();
        all
    }

    #[test]
    fn a_model_is_in_one_file_or_its_run_is_not_over() {
        let dir = tempfile::tempdir().unwrap();
        let (fits, file) = (dir.path().join("fits"), dir.path().join("m.safetensors"));
        std::fs::create_dir(&fits).unwrap();
        let called = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let ensemble = |seeds: &[u64]| {
            Ensemble::new(seeds.iter().map(|s| Member::new(format!("seed {s}"), model(*s))).collect()).unwrap()
        };
        let bytes = |model: &Model| model.to_bytes();
        for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
            model(seed).save(own(&fits, name)).unwrap();
        }
        let mut joined = Joined::open(&fits).unwrap();
        assert!(joined.has("a") && !joined.has("d"));
        let both = ensemble(&[1, 2]);
        both.save(&file).unwrap();
        joined.join("m.safetensors", &called(&["a", "b"]), both.members()).unwrap();
        assert_eq!(names(&fits), ["a.json", "b.json", "c.safetensors"]);
        // A process that was killed before it removed one: its own file is as good.
        model(1).save(own(&fits, "a")).unwrap();
        for again in [joined, Joined::open(&fits).unwrap()] {
            assert!(["a", "b", "c"].iter().all(|name| again.has(name)));
            let all = again.models(&called(&["c", "b", "a"])).unwrap();
            assert!(all.iter().zip([3, 2, 1]).all(|(found, seed)| bytes(found) == bytes(&model(seed))));
        }
        std::fs::remove_file(own(&fits, "a")).unwrap();

        // What the next file has not keeps a file of its own.
        let mut joined = Joined::open(&fits).unwrap();
        let next = ensemble(&[2, 3]);
        joined.part_from("other.safetensors", &next).unwrap();
        assert_eq!(names(&fits), ["a.json", "b.json", "c.safetensors"]);
        joined.part_from("m.safetensors", &next).unwrap();
        assert_eq!(names(&fits), ["a.safetensors", "b.json", "c.safetensors"]);
        next.save(&file).unwrap();
        joined.join("m.safetensors", &called(&["b", "c"]), next.members()).unwrap();
        assert_eq!(names(&fits), ["a.safetensors", "b.json", "c.json"]);
        assert_eq!(bytes(&joined.models(&called(&["a"])).unwrap()[0]), bytes(&model(1)));

        // A file that was replaced by another, broken or removed has none of them.
        for change in [ensemble(&[8, 9]).to_bytes(), b"nothing".to_vec(), Vec::new()] {
            match change.is_empty() {
                true => std::fs::remove_file(&file).unwrap(),
                false => std::fs::write(&file, change).unwrap(),
            }
            let joined = Joined::open(&fits).unwrap();
            assert_eq!([joined.has("a"), joined.has("b"), joined.has("c")], [true, false, false]);
            assert!(joined.models(&called(&["b"])).is_err());
        }
        // What stands in the place of a model leads nowhere else, and may be anything.
        next.save(dir.path().join("m.safetensors")).unwrap();
        let out = Place { joined_in: "../m.safetensors".into(), fingerprint: fingerprint(&model(2)) };
        std::fs::write(place(&fits, "b"), serde_json::to_string(&out).unwrap()).unwrap();
        std::fs::write(place(&fits, "c"), "{").unwrap();
        let joined = Joined::open(&fits).unwrap();
        assert!(joined.has("a") && !joined.has("b") && !joined.has("c"));
    }
}
