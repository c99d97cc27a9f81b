//! The lines that scripts really have.

use super::*;
use serde_json::json;

fn render(template: &str) -> Result<String, String> {
    let data = json!({
        "Id": "4cdf",
        "State": {"Status": "running", "Pid": 42, "ExitCode": 0, "Running": true},
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"com.example.a": "x", "b": "y"}, "Cmd": null, "Volumes": null},
        "HostConfig": {"Binds": null, "Memory": 268435456u64},
        "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": true}],
        "NetworkSettings": {
            "IPAddress": "10.77.0.2",
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "9000/tcp": null},
            "Networks": {"bridge": {"IPAddress": "10.77.0.2", "Gateway": "10.77.0.1"}}
        }
    });
    Template::parse(template)?.execute(&from_json(&data))
}

#[test]
fn lines_of_scripts() {
    let table = [
        ("{{.State.Pid}}", "42"),
        ("{{ .Id }}", "4cdf"),
        ("{{.State.Running}}", "true"),
        ("{{.HostConfig.Memory}}", "268435456"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.77.0.2"),
        ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.Gateway}} {{end}}", "bridge=10.77.0.1 "),
        (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#, "8080"),
        (r#"{{index .Config.Labels "com.example.a"}}"#, "x"),
        (r#"[{{index .Config.Labels "none"}}]"#, "[]"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ("{{json .Mounts}}", r#"[{"Type":"bind","Source":"/a","Destination":"/b","RW":true}]"#),
        ("{{json .State}}", r#"{"Status":"running","Pid":42,"ExitCode":0,"Running":true}"#),
        ("{{json .Config.Cmd}} {{.Config.Cmd}} {{.Config.Volumes}}", "null [] map[]"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[b:y com.example.a:x]"),
        ("{{.State}}", "{running 42 0 true}"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
        (r#"{{join .Config.Env ","}}"#, "A=1,B=2"),
        (r#"{{range split "a,b" ","}}<{{.}}>{{end}}"#, "<a><b>"),
        ("{{upper .Id}} {{.Id | upper | lower}} {{title \"a bc\"}}", "4CDF 4cdf A Bc"),
        (r#"{{printf "%.2s-%d" .Id .State.Pid}}"#, "4c-42"),
        (r#"{{printf "%v" .Config.Env}}"#, "[A=1 B=2]"),
        (r#"{{.Id | printf "%q"}}"#, r#""4cdf""#),
        ("{{len .Config.Env}}", "2"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        (r#"{{if eq .State.Status "running"}}up{{end}}"#, "up"),
        ("{{if .State.Health}}h{{else}}none{{end}} {{.State.Health}}", "none <nil>"),
        ("{{with .State}}{{.Pid}}{{end}}", "42"),
        (r#"{{truncate .Id 2}}|{{pad .Id 1 2}}|"#, "4c| 4cdf  |"),
        ("{{/* nothing */}}x", "x"),
        ("{{$p := .State.Pid}}{{$p}}", "42"),
        ("{{range .Mounts}}{{.Source}}:{{.Destination}}{{end}}", "/a:/b"),
        (
            r#"{{range $p, $c := .NetworkSettings.Ports}}{{$p}}->{{range $c}}{{.HostPort}}{{end}} {{end}}"#,
            "80/tcp->8080 9000/tcp-> ",
        ),
    ];
    for (template, expected) in table {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn mistakes_are_one_line_of_docker_s() {
    let error = |template: &str| render(template).unwrap_err();
    assert_eq!(error("{{.x"), "template parsing error: template: :1: unclosed action");
    assert_eq!(error("{{foo .}}"), "template parsing error: template: :1: function \"foo\" not defined");
    assert_eq!(
        error("{{.Nope}}"),
        "template parsing error: template: :1: executing \"\": can't evaluate field Nope in type object"
    );
    assert!(error("{{end}}").starts_with("template parsing error: template: :1: "));
    assert!(error("{{index .Config.Cmd 0}}").contains("index of untyped nil"));
}

#[test]
fn methods_take_arguments() {
    let label = Value::Function(Arc::new(|args: &[Value]| Ok(args[0].clone())));
    let data = object([("Label", label), ("ID", Value::Int(1))].into_iter());
    let run = |text: &str| Template::parse(text).unwrap().execute(&data);
    assert_eq!(run(r#"{{.Label "x"}}"#).as_deref(), Ok("x"));
    assert_eq!(run(r#"{{.Label "x" | upper}}"#).as_deref(), Ok("X"));
    assert_eq!(run(r#"{{if (.Label "x")}}y{{end}}"#).as_deref(), Ok("y"));
    assert_eq!(run("{{json .}}").as_deref(), Ok("{\"ID\":1}"));
}

#[test]
fn precisions_are_bounded() {
    let run = |text: &str| Template::parse(text).unwrap().execute(&Value::Nil);
    assert_eq!(
        run(r#"{{printf "%.2e|%5.1f|%.f|%d%%" 1.5 1.25 2.0 3}}"#).as_deref(),
        Ok("1.50e+00|  1.2|2|3%")
    );
    for precision in ["1001", "65535", "99999999999999999999999"] {
        let long = run(&format!("{{{{printf \"%.{precision}E\" 1.5}}}}")).unwrap();
        assert_eq!(long.len(), "1.E+00".len() + 1000, "{precision}");
    }
    assert!(run(r#"{{printf "%.*e" 65535 1.5}}"#).is_err());
    assert_eq!(run(r#"{{printf "%.3s %-4d|" "abcdef" 7}}"#).as_deref(), Ok("abc 7   |"));
}

proptest::proptest! {
    #[test]
    fn no_template_panics(text in "[{}.a-zA \"|$:=()0-9]{0,40}") {
        let _ = render(&text);
        let _ = render(&format!("{{{{{text}}}}}"));
    }
}
