//! `@host`: the machine's own root file system as an image; the README's first command.

use e2e::Sandbox;

#[test]
fn the_machines_programs_without_the_machines_files_at_risk() {
    let s = Sandbox::new();
    assert_eq!(s.corten("run --rm @host sh -c 'echo $((6 * 7))'").ok(), "42");
    std::fs::write(s.dir.join("file"), "before\n").expect("writable");
    let file = s.dir.join("file").display().to_string();
    s.corten(&format!("run --rm @host sh -c 'echo after >{file}; rm -rf /bin /etc/passwd; true'")).ok();
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "before\n");
    assert!(std::path::Path::new("/etc/passwd").exists());
    s.end();
}

#[test]
fn a_shell_on_a_terminal() {
    let s = Sandbox::new();
    let mut pty = s.pty("run --rm -it @host bash --norc");
    pty.expect("# ");
    pty.send("echo $$ $(id -u)\r");
    pty.expect("1 0\r\n");
    pty.send("exit\r");
    assert_eq!(pty.wait().code, 0);
    s.end();
}
