//! What commands on images do, as other people's commands: `--explain` of `tag`, `rmi`, `load` and `pull`.

use crate::{Engine, Result, State};
use image::{Image, Reference};
use std::path::PathBuf;
use steps::{Shell, WriteFile, quote};

impl Engine {
    pub fn tag_by_hand(&self, source: &str, target: &str) -> Result<Vec<Shell>> {
        let image = self.images().resolve(source)?;
        let target = Reference::parse(target)?.tagged();
        let (path, content) = self.images().tag_file(&target, &image.id);
        let file = WriteFile { path: path.into(), content, mode: 0o600, owner: None };
        let why = format!("{} leads to that image from now on", target.familiar());
        Ok(vec![Shell { why, ..file.shell() }.near("under a lock, and made beside and renamed")])
    }

    pub fn remove_image_by_hand(&self, name: &str) -> Result<Vec<Shell>> {
        let image = self.images().resolve(name)?;
        let all = self.images().list()?;
        let names: Vec<Reference> = all
            .iter()
            .filter(|other| other.image.id == image.id)
            .flat_map(|other| other.tags.iter().chain(&other.digests).cloned())
            .collect();
        // By its id all of its names go, else the one that was said.
        let said = Reference::parse(name).ok().map(Reference::tagged).filter(|said| names.contains(said));
        let gone: Vec<&Reference> =
            names.iter().filter(|name| said.as_ref().is_none_or(|said| said == *name)).collect();
        let word = |path: PathBuf| quote(&path.display().to_string());
        let mut shells: Vec<Shell> = gone
            .iter()
            .map(|name| {
                let path = word(self.images().tag_file(name, &image.id).0);
                Shell::exact(format!("rm {path}"), format!("{} leads nowhere", name.familiar()), "unlink(2)")
            })
            .collect();
        if gone.len() < names.len() {
            return Ok(shells);
        }
        let users = self.list()?;
        let used = users.iter().any(|(c, _)| c.image_id.trim_start_matches("sha256:") == image.id);
        if used {
            shells.push(Shell::comment("a container is made of it: its layers stay", ""));
            return Ok(shells);
        }
        let file = word(self.root.join("images").join(format!("{}.json", image.id)));
        shells.push(Shell::exact(format!("rm {file}"), "the image itself", "unlink(2)"));
        let others: Vec<&Image> = all.iter().map(|other| &other.image).filter(|o| o.id != image.id).collect();
        for layer in &image.layers {
            if others.iter().all(|other| other.layers.iter().all(|theirs| theirs.chain != layer.chain)) {
                let dir = word(self.root.join("layers").join(&layer.chain));
                shells.push(Shell::exact(
                    format!("rm -rf {dir}"),
                    "a layer that no other image has",
                    "rm(1)",
                ));
            }
        }
        let note = "manifests and configurations in blobs/ that nothing refers to any more go, too";
        shells.push(Shell::comment(note, ""));
        Ok(shells)
    }

    /// `archive`: none is standard input.
    pub fn load_by_hand(&self, archive: Option<&str>) -> Vec<Shell> {
        let from = archive.filter(|path| *path != "-").map_or("-".to_owned(), quote);
        vec![
            Shell::lines(
                vec!["A=$(mktemp -d)".to_owned(), format!("tar -xf {from} -C $A")],
                "the archive: a list of images, their configurations, their layers",
                "tar(1)",
            )
            .near("read once, from its beginning to its end, and nothing of it is kept"),
            unpack(&self.root, "$(grep -o '[^\" ]*\\.tar' $A/manifest.json)", "$A/$layer"),
            Shell::comment("each image gets a file images/ID.json, each name a file in tags/", "rename(2)"),
        ]
    }

    pub fn pull_by_hand(&self, name: &str) -> Result<Vec<Shell>> {
        let reference = Reference::parse(name)?.tagged();
        let host = if reference.domain == "docker.io" { "registry-1.docker.io" } else { &reference.domain };
        let base = format!("https://{host}/v2/{}", reference.path);
        let what = reference.digest.as_ref().or(reference.tag.as_ref()).map_or("latest", String::as_str);
        let accept = ["index", "manifest"]
            .map(|kind| format!("-H 'Accept: application/vnd.oci.image.{kind}.v1+json'"));
        let docker = ["manifest.list", "manifest"]
            .map(|kind| format!("-H 'Accept: application/vnd.docker.distribution.{kind}.v2+json'"));
        let accept = [accept, docker].concat().join(" ");
        Ok(vec![
            Shell::lines(
                vec![
                    "A=$(mktemp -d)".to_owned(),
                    format!("curl -sSfL {accept} {} >$A/manifest", quote(&format!("{base}/manifests/{what}"))),
                ],
                "what the image consists of",
                "curl(1)",
            )
            .near("a registry that asks for a token gets one first; of an index, the manifest for this machine follows"),
            Shell::exact(
                format!(
                    "for blob in $(grep -o 'sha256:[0-9a-f]*' $A/manifest | sort -u); do curl -sSfL {}/blobs/$blob -o $A/$blob; echo \"${{blob#sha256:}}  $A/$blob\" | sha256sum -c; done",
                    quote(&base)
                ),
                "its configuration and its layers, each of which must be what its name says",
                "curl(1)",
            )
            .near("several at once, and unpacked while they come; those that are here already are not asked for"),
            unpack(&self.root, "$(grep -o 'sha256:[0-9a-f]*' $A/manifest | tail -n +2)", "$A/$layer"),
            Shell::comment(format!("{} leads to it: a file in tags/", reference.familiar()), "rename(2)"),
        ])
    }

    /// Whether the container's processes can be seen by `/proc/PID/root`.
    pub(crate) fn root_by_hand(&self, container: &crate::Container) -> Result<Option<String>> {
        Ok(match self.state(container)? {
            State::Running { pid, .. } => Some(format!("/proc/{pid}/root")),
            _ => None,
        })
    }
}

fn unpack(root: &std::path::Path, layers: &str, file: &str) -> Shell {
    let to = quote(&root.join("layers").display().to_string());
    Shell::lines(
        vec![
            format!("for layer in {layers}; do"),
            format!("  D={to}/$(basename $layer)/diff; mkdir -p $D"),
            format!("  tar --xattrs --xattrs-include='*' --numeric-owner -xpf {file} -C $D"),
            "  find $D -name '.wh.*' | while read -r w; do rm $w; mknod ${w%/*}/${w##*/.wh.} c 0 0; done".to_owned(),
            "done".to_owned(),
        ],
        "each layer is a directory; what it takes away is a device 0:0, as overlayfs has it",
        "tar(1)",
    )
    .near("unpacked by a process that sees nothing but the directory; named by the digests of all layers up to it")
}
