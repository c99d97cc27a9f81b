//! Completion as shells ask for it, and manual pages as man reads them.

use e2e::{Sandbox, binary};
use std::fs;

/// Makes `corten` of the sandbox' own directory the first in the path, and answers what scripts begin with.
fn named(s: &Sandbox) -> String {
    let bin = s.dir.join("bin");
    fs::create_dir(&bin).expect("writable");
    std::os::unix::fs::symlink(binary(), bin.join("corten")).expect("writable");
    format!(
        "export PATH={}:$PATH CORTEN_ROOT={} CORTEN_STATE={}\n",
        bin.display(),
        s.scope.root.display(),
        s.scope.state.display()
    )
}

/// What bash would offer for a line.
fn bash(s: &Sandbox, names: &str, line: &str) -> String {
    let line = quote(line);
    let script = format!(
        r##"{names}
        source <(corten completion bash)
        compopt() {{ echo "compopt $*"; }}
        COMP_LINE={line}; COMP_POINT=${{#COMP_LINE}}
        _corten
        [[ ${{#COMPREPLY[@]}} == 0 ]] || printf '%s\n' "${{COMPREPLY[@]}}""##
    );
    s.host(&script).ok().to_string()
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn names_of_what_is_there() {
    let s = Sandbox::with(&["busybox"]);
    let names = named(&s);
    s.corten("create --name web -v data:/data busybox true").ok();
    s.detached("--name worker busybox sleep 1000");
    s.corten("network create backend").ok();
    let ask = |line: &str| s.corten(&format!("__complete words {line}")).ok().to_string();
    assert_eq!(ask("rm w"), "web\tbusybox\nworker\tbusybox");
    assert_eq!(ask("stop w"), "worker\tbusybox", "what does not run cannot be stopped");
    assert_eq!(ask("start w"), "web\tbusybox");
    assert_eq!(ask("volume inspect d"), "data");
    assert_eq!(ask("run -v d"), "data");
    assert_eq!(ask("run --network back"), "backend");
    assert_eq!(ask("network connect backend we"), "web\tbusybox");
    assert_eq!(ask("run --rm -it bus"), "busybox:latest");
    assert_eq!(ask("cp w"), "web:\tbusybox\nworker:\tbusybox");
    // As bash puts it: no descriptions, and only what follows a colon where Readline breaks words there.
    assert_eq!(bash(&s, &names, "corten stop w"), "worker");
    assert_eq!(bash(&s, &names, "corten run --network=back"), "backend");
    assert_eq!(bash(&s, &names, "corten run -it busybox:l"), "latest");
    assert_eq!(bash(&s, &names, "corten run -e 'a b' --cidfile x"), "compopt -o default");
    assert_eq!(bash(&s, &names, "docker volume ins"), "inspect");
    s.corten("rm -f web worker").ok();
    s.corten("network rm backend").ok();
    s.corten("volume rm data").ok();
    s.end();
}

#[test]
fn nothing_is_made_by_asking() {
    let s = Sandbox::new();
    assert_eq!(s.corten("__complete words rm w").ok(), "");
    assert!(!s.scope.root.exists() && !s.scope.state.exists());
    assert_eq!(s.corten("__complete").ok(), "");
    assert_eq!(s.corten("__complete line 'corten --nosuch x y '").ok(), "");
    s.corten("completion tcsh").fails(125, &["tcsh"]);
    s.end();
}

#[test]
fn zsh_and_fish_ask_too() {
    let s = Sandbox::with(&["busybox"]);
    let names = named(&s);
    s.corten("create --name web busybox true").ok();
    // Its completion system runs within its line editor only: what it would be given is looked at.
    let zsh = format!(
        r#"{names}
        cat >ask.zsh <<'END'
        compadd() {{ print -r -- compadd "$@"; }}
        compdef() {{ print -r -- compdef "$@"; }}
        _files() {{ print files; }}
        source <(corten completion zsh)
        words=(corten rm we); CURRENT=3; PREFIX=we; _corten
        words=(corten load -i x); CURRENT=4; PREFIX=x; _corten
END
        zsh -f ask.zsh"#
    );
    assert_eq!(s.host(&zsh).ok(), "compdef _corten corten\ncompadd -l -d texts -- web\nfiles");
    let fish = |line: &str| {
        let ask = format!("corten completion fish | source; complete -C {}", quote(line));
        s.host(&format!("{names} HOME=$PWD fish -N -c {}", quote(&ask))).ok().to_string()
    };
    assert_eq!(fish("corten rm w"), "web\tbusybox");
    assert_eq!(fish("corten volu"), "volume\tManage volumes");
    assert!(fish("corten load -i roo").contains("root/"));
    s.corten("rm web").ok();
    s.end();
}

#[test]
fn manual_pages_are_read_by_man() {
    let s = Sandbox::new();
    s.corten("man share/man1").ok();
    let read = |page: &str| {
        s.host(&format!("MANROFFSEQ= MANWIDTH=80 LC_ALL=C man --warnings -P cat -l share/man1/{page}.1"))
    };
    let page = read("corten-run");
    page.ok();
    assert_eq!(page.stderr, "", "roff has nothing to complain about");
    for part in ["NAME\n", "corten-run - create a container", "--publish", "NETWORK\n", "EXAMPLES\n"] {
        assert!(page.stdout.contains(part), "{part}: {page}");
    }
    for page in ["corten", "corten-volume", "corten-cp"] {
        let page = read(page);
        assert!(page.ok().contains("DESCRIPTION") || page.ok().contains("COMMAND"), "{page}");
        assert_eq!(page.stderr, "");
    }
    s.corten("man /dev/null/x").fails(1, &["/dev/null/x"]);
    s.end();
}
