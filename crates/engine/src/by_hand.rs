//! What commands do with archives, registries and the machine's shared things, as other people's commands. Nothing is done.

use crate::{Container, Edits, Engine, Mount, MountKind, Result, State, Volume};
use image::{Image, Reference};
use runtime::{GroupPaths, Host};
use std::path::{Path, PathBuf};
use steps::{Shell, quote};

const TAR: &str = "tar --xattrs --xattrs-include='*' --numeric-owner";

/// `-f FILE`; standard input or output without one.
fn file(path: Option<&str>) -> String {
    path.filter(|path| *path != "-").map_or("-".to_owned(), quote)
}

fn word(path: &Path) -> String {
    quote(&path.display().to_string())
}

impl Engine {
    fn config_file(&self, image: &Image) -> PathBuf {
        self.root.join("blobs/sha256").join(&image.id)
    }

    pub fn export_by_hand(&self, container: &Container, to: Option<&str>) -> Result<Vec<Shell>> {
        let to = file(to);
        let why = "all that its root shows, without what is mounted in it";
        if let Some(root) = self.root_by_hand(container)? {
            let line = format!("{TAR} --one-file-system -C {root} -cf {to} .");
            return Ok(vec![
                Shell::exact(line, why, "tar(1)")
                    .near("owners are the container's own, by its user namespace"),
            ]);
        }
        let layers: Vec<String> = container.lower.iter().map(|layer| quote(layer)).collect();
        let upper = word(&self.upper_directory(container));
        let lower = format!("{upper}:{}", layers.join(":"));
        Ok(vec![
            Shell::lines(
                vec![
                    "M=$(mktemp -d)".to_owned(),
                    format!("mount -t overlay overlay -o ro,lowerdir={lower} $M"),
                ],
                "its root, made of its layers: what it has written is the topmost",
                "mount(8)",
            )
            .near("in a mount namespace of its own"),
            Shell::exact(format!("{TAR} --one-file-system -C $M -cf {to} ."), why, "tar(1)")
                .near("owners are the container's own, by its user namespace"),
            Shell::exact("umount $M; rmdir $M", "nothing is left of it", "umount(8)"),
        ])
    }

    pub fn save_by_hand(&self, names: &[String], to: Option<&str>) -> Result<Vec<Shell>> {
        let mut all = vec![Shell::exact("A=$(mktemp -d)", "where the archive is put together", "mktemp(1)")];
        for name in names {
            let image = self.images().resolve(name)?;
            let dirs: Vec<String> =
                image.layers.iter().map(|layer| word(&self.images().layer_path(&layer.chain))).collect();
            all.push(
                Shell::lines(
                    vec![
                        format!("for layer in {}; do", dirs.join(" ")),
                        format!("  {TAR} -C $layer -cf $A/layer.tar ."),
                        "  mv $A/layer.tar $A/$(sha256sum <$A/layer.tar | cut -c-64).tar".to_owned(),
                        "done".to_owned(),
                    ],
                    format!("the layers of {name}, each named by its digest"),
                    "tar(1)",
                )
                .near("byte for byte what it was when it came: its record keeps order, padding and '.wh.' names"),
            );
            let copy = format!("cp {} $A/{}.json", word(&self.config_file(&image)), image.id);
            all.push(Shell::exact(copy, "its configuration, whose digest is its id", "cp(1)"));
        }
        all.push(Shell::comment("manifest.json (Docker's) and index.json (OCI's) list them", ""));
        all.push(
            Shell::exact(
                format!("tar -C $A -cf {} .; rm -r $A", file(to)),
                "one archive of it all",
                "tar(1)",
            )
            .near("written in one go, beside its name, and renamed when it is whole"),
        );
        Ok(all)
    }

    pub fn import_by_hand(&self, from: &str, name: Option<&Reference>) -> Vec<Shell> {
        let layers = word(&self.root.join("layers"));
        let mut all = vec![
            Shell::lines(
                vec![
                    format!("L=$(mktemp -d {layers}/import.XXXXXX); mkdir $L/diff"),
                    format!("{TAR} -xpf {} -C $L/diff", file(Some(from))),
                ],
                "the archive becomes the image's one layer",
                "tar(1)",
            )
            .near("unpacked by a process that sees nothing but the directory, which is named by its digest then"),
            Shell::comment("a configuration with that layer, named by its digest, is the image", ""),
        ];
        if let Some(name) = name {
            let why = format!("{} leads to it: a file in tags/", name.familiar());
            all.push(Shell::comment(why, "rename(2)"));
        }
        all
    }

    pub fn push_by_hand(&self, name: &Reference) -> Result<Vec<Shell>> {
        let image: Image = self.images().resolve(&name.to_string())?;
        let host = if name.domain == "docker.io" { "registry-1.docker.io" } else { &name.domain };
        let base = quote(&format!("https://{host}/v2/{}", name.path));
        let dirs: Vec<String> =
            image.layers.iter().map(|layer| word(&self.images().layer_path(&layer.chain))).collect();
        let tag = name.tag.as_deref().unwrap_or("latest");
        let mut lines = vec!["A=$(mktemp -d)".to_owned(), format!("for layer in {}; do", dirs.join(" "))];
        lines.push(format!("  {TAR} -C $layer -czf $A/layer ."));
        lines.push("  mv $A/layer $A/$(sha256sum <$A/layer | cut -c-64)".to_owned());
        lines.push("done".to_owned());
        let mut all = vec![
            Shell::lines(lines, "its layers, compressed, each named by its digest", "tar(1)")
                .near("as they were pulled, where they were: their digests are the same"),
        ];
        let copy = format!("cp {} $A/{}", word(&self.config_file(&image)), image.id);
        all.push(Shell::exact(copy, "its configuration, whose digest is its id", "cp(1)"));
        all.push(
            Shell::lines(
                vec![
                    "for blob in $A/*; do".to_owned(),
                    "  D=sha256:$(basename $blob)".to_owned(),
                    format!("  curl -sfI {base}/blobs/$D >/dev/null && continue"),
                    format!("  U=$(curl -sSfi -X POST {base}/blobs/uploads/ | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')"),
                    "  case $U in *\\?*) U=$U\\&digest=$D;; *) U=$U?digest=$D;; esac".to_owned(),
                    "  curl -sSf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$blob $U".to_owned(),
                    "done".to_owned(),
                ],
                "each blob that the registry does not have",
                "curl(1)",
            )
            .near("a registry that asks for a token gets one first; what another of its repositories has is mounted from there"),
        );
        all.push(
            Shell::exact(
                format!(
                    "curl -sSf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @$A/manifest.json {base}/manifests/{tag}"
                ),
                "the manifest, which lists them: from now on the name leads there",
                "curl(1)",
            )
            .near("manifest.json names each blob with its size and its digest"),
        );
        Ok(all)
    }

    pub fn export_volume_by_hand(&self, volume: &Volume, to: Option<&str>) -> Vec<Shell> {
        let line =
            format!("{TAR} --one-file-system -C {} -cf {} .", word(&self.mountpoint(volume)), file(to));
        vec![
            Shell::exact(line, "all files of the volume", "tar(1)")
                .near("by a process without rights that sees nothing else"),
        ]
    }

    pub fn import_volume_by_hand(&self, name: &str, from: Option<&str>) -> Result<Vec<Shell>> {
        let wish = crate::VolumeWish { name: name.to_owned(), ..crate::VolumeWish::default() };
        let mut all = self.create_volume_by_hand(&wish)?;
        let dir = match self.volume(name) {
            Ok(volume) => self.mountpoint(&volume),
            Err(_) => self.root.join("volumes").join(name).join("_data"),
        };
        let line = format!("{TAR} -xpf {} -C {}", file(from), word(&dir));
        all.push(
            Shell::exact(line, "the archive's files, with their owners", "tar(1)")
                .near("by a process that sees nothing else; device nodes are passed over"),
        );
        Ok(all)
    }

    pub fn down_by_hand(&self) -> Result<Vec<Shell>> {
        let networks = self.networks().list()?;
        let mut all: Vec<Shell> = Vec::new();
        let mut tables: Vec<&str> = networks.iter().map(|network| network.table.as_str()).collect();
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            let line = format!("nft delete table inet {} 2>/dev/null || true", quote(table));
            all.push(Shell::exact(line, "the firewall table, with all that is in it", "nft(8)"));
        }
        for network in networks.iter().filter(|network| network.driver == network::Driver::Bridge) {
            let line = format!("ip link delete {} type bridge 2>/dev/null || true", quote(&network.link));
            let why = format!("the bridge of the network '{}'", network.name);
            all.push(Shell::exact(line, why, "ip-link(8)"));
        }
        for path in GroupPaths::everywhere(&crate::group::parent(), &Host::read()).dirs() {
            let dir = Path::new(&path);
            if dir.exists() {
                let line = format!("find {} -depth -type d -exec rmdir {{}} +", quote(&path));
                all.push(Shell::exact(line, "the group that was above all containers'", "cgroups(7)"));
            }
        }
        Ok(all)
    }

    /// `check`: what is read; what is repaired depends on what is found.
    pub fn check_by_hand(&self, repair: bool) -> Vec<Shell> {
        let blobs = word(&self.root.join("blobs/sha256"));
        let line =
            format!("( cd {blobs} && for f in *; do echo \"$f  $f\"; done | sha256sum --check --quiet )");
        let mut all = vec![
            Shell::exact(line, "each blob is what its name says", "sha256sum(1)"),
            Shell::comment("each layer's files are those of its record: sizes, modes, owners, digests", ""),
            Shell::comment("each container has its directory, its layers and its state", ""),
        ];
        if repair {
            let why =
                "what is wrong is set right: files of no use are removed, an image that is not whole is, too";
            all.push(Shell::comment(why, "unlink(2)"));
        }
        all
    }

    /// [`Engine::edit`].
    pub fn edit_by_hand(&self, container: &Container, edits: &Edits) -> Result<Vec<Shell>> {
        let mut all = Vec::new();
        let pid = match self.state(container)? {
            State::Running { pid, .. } => Some(pid),
            _ => None,
        };
        for target in edits.mounts_gone.iter().filter(|_| pid.is_some()) {
            let (into, pid) = (into(container), pid.unwrap_or_default());
            let line = format!("perl -e '{into}; {UNMOUNT}' {pid} {}", quote(target));
            all.push(Shell::exact(line, format!("nothing is mounted at {target} any more"), "umount(2)"));
        }
        for mount in &edits.mounts {
            all.extend(pid.and_then(|pid| self.mount_by_hand(container, mount, pid)));
        }
        let config = self.directory(container).join("config.json");
        let why =
            format!("variables, labels and mounts are noted in {} for the next start", config.display());
        all.push(Shell::comment(why, "rename(2)"));
        Ok(all)
    }

    fn mount_by_hand(&self, container: &Container, mount: &Mount, pid: i32) -> Option<Shell> {
        let (source, target, into) = (&mount.source, quote(&mount.target), into(container));
        let why = format!("{} comes to {}", if source.is_empty() { "a tmpfs" } else { source }, mount.target);
        let source = match mount.kind {
            MountKind::Bind => quote(source),
            MountKind::Volume => word(&self.root.join("volumes").join(source).join("_data")),
            MountKind::Tmpfs => {
                let line = format!("perl -e '{into}; {TMPFS}' {pid} {target}");
                return Some(
                    Shell::exact(line, why, "mount(2)").near("with the size and mode that were given"),
                );
            }
            MountKind::Image => return None,
        };
        let line = format!("perl -e '{TAKE}; {into}; {PUT}' {pid} {target} {source}");
        let note = "mount(8) cannot: the tree is taken here and put there; its owners are mapped, too (mount_setattr(2))";
        Some(Shell::exact(line, why, "open_tree(2) move_mount(2)").near(note))
    }
}

/// Into the mount namespace of the process that is the first word, and to its root, as its root. Numbers are those of x86-64.
fn into(container: &Container) -> String {
    let open =
        |name: &str, kind: &str| format!(r#"open {name}, "<", "/proc/$ARGV[0]/ns/{kind}" or die $!; "#);
    let set = |name: &str, flag: &str| format!("syscall(308, fileno({name}), {flag}) == 0 or die $!");
    let (mounts, there) = (open("N", "mnt"), set("N", "0x20000"));
    match container.id_base {
        0 => format!("{mounts}{there}"),
        _ => {
            let (users, first) = (open("U", "user"), set("U", "0x10000000"));
            format!(r#"{mounts}{users}{first}; {there}; $) = "0 0"; $( = 0; $> = 0; $< = 0"#)
        }
    }
}
const UNMOUNT: &str = r#"syscall(166, $ARGV[1], 2) == 0 or die $!"#;
const TMPFS: &str = r#"mkdir $ARGV[1]; $k = "tmpfs"; syscall(165, $k, $ARGV[1], $k, 6, 0) == 0 or die $!"#;
/// A copy of the tree that is the third word, with the mounts below it.
const TAKE: &str = r#"$t = syscall(428, -100, $ARGV[2], 0x88001); $t >= 0 or die $!"#;
const PUT: &str =
    r#"-e $ARGV[1] or mkdir $ARGV[1]; $e = ""; syscall(429, $t, $e, -100, $ARGV[1], 4) == 0 or die $!"#;
