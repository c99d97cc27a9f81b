//! Command lines to begin with, for the help and the man page of a command.

type Example = (&'static str, &'static str);

/// Each under 44 characters, with what it does.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "run",
        &[
            ("corten run --rm -it debian bash", "a shell, gone when left"),
            ("corten run -d --name web -p 8080:80 nginx", "a server at localhost:8080"),
            ("corten run --rm -v $PWD:/src -w /src gcc make", "work on files of yours"),
            ("corten run --explain nginx", "only tell the steps"),
        ],
    ),
    (
        "exec",
        &[("corten exec -it web sh", "a shell in it"), ("corten exec -u nobody web id", "as another user")],
    ),
    (
        "cp",
        &[
            ("corten cp web:/etc/nginx/nginx.conf .", "out of a container"),
            ("corten cp index.html web:/srv/", "into one"),
        ],
    ),
    (
        "update",
        &[
            ("corten update --memory 1g web", "more memory, at once"),
            ("corten update -p 8081:80 web", "one more port, at once"),
            ("corten update --mount-add data:/data web", "one more volume, at once"),
            ("corten update -e DEBUG=1 web", "from the next start on"),
        ],
    ),
    (
        "volume export",
        &[
            ("corten volume export data >data.tar", "all files of a volume"),
            ("corten volume import data <data.tar", "and back"),
        ],
    ),
    (
        "completion",
        &[
            ("source <(corten completion bash)", "for this shell"),
            ("corten completion fish | source", "with fish"),
        ],
    ),
];

/// Those of a command, by its name or by that of its family's: `container run` is `run`.
pub fn of(name: &str) -> &'static [Example] {
    let plain = name.strip_prefix("container ").unwrap_or(name);
    EXAMPLES.iter().find(|(known, _)| *known == plain).map_or(&[], |(_, examples)| examples)
}
