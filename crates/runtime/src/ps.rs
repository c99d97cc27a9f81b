//! What `ps` says of a container's processes, read from /proc: nothing is run, least of all anything from the image
//! (CVE-2022-1227).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A table as `ps` prints it: the last column may hold spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
    columns: Vec<Column>,
}

/// What is to be told of these processes, by `arguments` as of `ps`: `-ef` (or nothing), `aux`, or `-o` with a list of
/// columns. One that has ended is not told of.
///
/// Errors: an option that is not understood; a process table that can't be read.
pub fn table(pids: &[i32], arguments: &[String]) -> io::Result<Processes> {
    let columns = columns(arguments)?;
    let machine = Machine::read()?;
    let read = |pid: &i32| Process::read(*pid).ok();
    let row = |p: Process| columns.iter().map(|c| c.value(&p, &machine)).collect();
    let rows = pids.iter().filter_map(read).map(row).collect();
    let titles = columns.iter().map(|c| c.title().to_owned()).collect();
    Ok(Processes { titles, rows, columns })
}

impl Processes {
    /// Lines with a title, aligned as `ps` aligns them.
    pub fn text(&self) -> String {
        let lines = || std::iter::once(&self.titles).chain(&self.rows);
        let width = |i: usize| lines().filter_map(|line| line.get(i)).map(|s| s.chars().count()).max();
        let mut out = String::new();
        for line in lines() {
            let last = line.len().saturating_sub(1);
            for (i, (cell, column)) in line.iter().zip(&self.columns).enumerate() {
                let (right, least) = column.shape();
                let width = width(i).unwrap_or_default().max(least);
                match (right, i == last) {
                    (true, _) => out.push_str(&format!("{cell:>width$}")),
                    (false, true) => out.push_str(cell),
                    (false, false) => out.push_str(&format!("{cell:<width$}")),
                }
                out.push(if i == last { '\n' } else { ' ' });
            }
        }
        out
    }
}

/// One column of `ps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Uid,
    User,
    Pid,
    Ppid,
    Share,
    ShareOfOne,
    MemoryShare,
    Virtual,
    Resident,
    Started,
    Terminal,
    State,
    Time,
    Elapsed,
    Threads,
    Name,
    Command(&'static str),
}

use Column::*;

/// `ps -ef`
const FULL: &[Column] = &[Uid, Pid, Ppid, Share, Started, Terminal, Time, Command("CMD")];
/// `ps aux`
const BSD: &[Column] = &[
    User,
    Pid,
    ShareOfOne,
    MemoryShare,
    Virtual,
    Resident,
    Terminal,
    State,
    Started,
    Time,
    Command("COMMAND"),
];

fn columns(arguments: &[String]) -> io::Result<Vec<Column>> {
    let refuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let words: Vec<&str> = arguments.iter().flat_map(|a| a.split_whitespace()).collect();
    match words.as_slice() {
        [] | ["-ef" | "-fe" | "-e" | "-f" | "ef"] => Ok(FULL.to_vec()),
        ["aux" | "-aux" | "u" | "axu" | "auxww"] => Ok(BSD.to_vec()),
        [.., last] if words.contains(&"-o") || words.contains(&"-eo") || last.starts_with("-o") => {
            let names: Vec<&str> = words
                .iter()
                .filter(|w| !matches!(**w, "-o" | "-eo" | "-e" | "-A"))
                .flat_map(|w| w.trim_start_matches("-o").split(','))
                .filter(|name| !name.is_empty())
                .collect();
            let mut chosen = Vec::new();
            for name in names {
                match column(name) {
                    Some(column) => chosen.push(column),
                    None => return refuse(format!("ps column '{name}' is not known")),
                }
            }
            if !chosen.contains(&Pid) {
                return refuse("the columns must include pid".to_owned());
            }
            Ok(chosen)
        }
        _ => {
            refuse(format!("ps options '{}' are not known: use -ef, aux or -o with columns", words.join(" ")))
        }
    }
}

fn column(name: &str) -> Option<Column> {
    Some(match name {
        "uid" => Uid,
        "user" | "euser" => User,
        "pid" => Pid,
        "ppid" => Ppid,
        "c" => Share,
        "pcpu" | "%cpu" => ShareOfOne,
        "pmem" | "%mem" => MemoryShare,
        "vsz" => Virtual,
        "rss" => Resident,
        "stime" | "start" | "lstart" => Started,
        "tty" | "tt" => Terminal,
        "stat" | "s" | "state" => State,
        "time" | "cputime" => Time,
        "etime" => Elapsed,
        "nlwp" => Threads,
        "comm" | "ucmd" => Name,
        "cmd" => Command("CMD"),
        "args" | "command" => Command("COMMAND"),
        _ => return None,
    })
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Uid => "UID",
            User => "USER",
            Pid => "PID",
            Ppid => "PPID",
            Share => "C",
            ShareOfOne => "%CPU",
            MemoryShare => "%MEM",
            Virtual => "VSZ",
            Resident => "RSS",
            Started => "STIME",
            Terminal => "TTY",
            State => "STAT",
            Time => "TIME",
            Elapsed => "ELAPSED",
            Threads => "NLWP",
            Name => "COMMAND",
            Command(title) => title,
        }
    }

    /// Whether it stands at the right, and how wide it is at least.
    fn shape(self) -> (bool, usize) {
        match self {
            Uid | User => (false, 8),
            Pid | Ppid => (true, 7),
            Share => (true, 2),
            ShareOfOne | MemoryShare => (true, 4),
            Virtual => (true, 6),
            Resident => (true, 5),
            Started => (false, 5),
            Terminal => (false, 8),
            State => (false, 4),
            Time => (true, 8),
            Elapsed => (true, 11),
            Threads => (true, 4),
            Name | Command(_) => (false, 0),
        }
    }

    fn value(self, p: &Process, machine: &Machine) -> String {
        let life = machine.uptime.saturating_sub(p.start_ticks / TICKS);
        let permille = (p.cpu_ticks * 1000 / TICKS).checked_div(life).unwrap_or(0);
        match self {
            Uid | User => machine.users.get(&p.uid).cloned().unwrap_or_else(|| p.uid.to_string()),
            Pid => p.pid.to_string(),
            Ppid => p.parent.to_string(),
            Share => (permille / 10).min(99).to_string(),
            ShareOfOne => format!("{}.{}", permille / 10, permille % 10),
            MemoryShare => {
                let permille = (p.resident_kib * 1000).checked_div(machine.memory_kib).unwrap_or(0);
                format!("{}.{}", permille / 10, permille % 10)
            }
            Virtual => p.virtual_kib.to_string(),
            Resident => p.resident_kib.to_string(),
            Started => started(machine.now, machine.boot + (p.start_ticks / TICKS) as i64),
            Terminal => terminal(p.terminal),
            State => p.state.to_string(),
            Time => clock(p.cpu_ticks / TICKS),
            Elapsed => elapsed(life),
            Threads => p.threads.to_string(),
            Name => p.name.clone(),
            Command(_) => p.command.clone(),
        }
    }
}

/// USER_HZ: what /proc calls a clock tick is a hundredth of a second on every Linux.
const TICKS: u64 = 100;

/// What the columns need to know of the machine.
struct Machine {
    now: i64,
    boot: i64,
    /// Seconds since boot.
    uptime: u64,
    memory_kib: u64,
    users: HashMap<u32, String>,
}

impl Machine {
    fn read() -> io::Result<Machine> {
        let stat = fs::read_to_string("/proc/stat")?;
        let boot = stat.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0);
        let uptime = fs::read_to_string("/proc/uptime")?;
        let uptime = uptime.split('.').next().and_then(|s| s.parse().ok()).unwrap_or(0);
        let memory = fs::read_to_string("/proc/meminfo")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
        // The host's own list: the ids are those of the host, and the image's file is a stranger's.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Ok(Machine { now, boot, uptime, memory_kib: kib(&memory, "MemTotal:"), users: users(&passwd) })
    }
}

fn users(passwd: &str) -> HashMap<u32, String> {
    let mut users = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok())) {
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// The number after `key` in a file of `key: n kB` lines.
fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// One process, as /proc/PID tells it.
#[derive(Debug, Default, PartialEq)]
struct Process {
    pid: i32,
    uid: u32,
    parent: i32,
    state: char,
    /// Device number; 0 is none.
    terminal: u32,
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_kib: u64,
    resident_kib: u64,
    name: String,
    command: String,
}

impl Process {
    fn read(pid: i32) -> io::Result<Process> {
        let dir = format!("/proc/{pid}");
        let uid = fs::metadata(&dir)?.uid();
        let stat = String::from_utf8_lossy(&fs::read(format!("{dir}/stat"))?).into_owned();
        let mut process = Process::parse(&stat)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "process table"))?;
        process.uid = uid;
        process.pid = pid;
        process.command = command(&fs::read(format!("{dir}/cmdline"))?, &process.name);
        Ok(process)
    }

    /// A line of /proc/PID/stat; the name is in brackets and may itself hold brackets and spaces.
    fn parse(stat: &str) -> Option<Process> {
        let (open, close) = (stat.find('(')?, stat.rfind(')')?);
        let name = stat.get(open + 1..close)?.to_owned();
        let fields: Vec<&str> = stat.get(close + 1..)?.split_whitespace().collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok());
        Some(Process {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            terminal: number(4)? as u32,
            cpu_ticks: number(11)? + number(12)?,
            threads: number(17)?,
            start_ticks: number(19)?,
            virtual_kib: number(20)? / 1024,
            resident_kib: number(21)? * 4,
            name,
            ..Process::default()
        })
    }
}

fn command(cmdline: &[u8], name: &str) -> String {
    let words: Vec<String> =
        cmdline.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let line = words.join(" ");
    let line = line.trim_end();
    // What a program calls itself is the program's to choose: no line ends and no escape sequences from it.
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if line.is_empty() { format!("[{name}]") } else { line }
}

fn terminal(device: u32) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        5 if minor == 1 => "console".to_owned(),
        _ => format!("{major}:{minor}"),
    }
}

/// `08:15` today, `Nov24` this year, else the year.
fn started(now: i64, start: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (Some(now), Some(start)) = (kernel::clock::local(now), kernel::clock::local(start)) else {
        return "?".to_owned();
    };
    if (now.year, now.month, now.day) == (start.year, start.month, start.day) {
        format!("{:02}:{:02}", start.hour, start.minute)
    } else if now.year == start.year {
        format!("{}{:02}", MONTHS[usize::from(start.month.clamp(1, 12) - 1)], start.day)
    } else {
        start.year.to_string()
    }
}

/// `00:01:02`
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `[[days-]hours:]minutes:seconds`
fn elapsed(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => rest,
        (0, _) => format!("{hours:02}:{rest}"),
        _ => format!("{days}-{hours:02}:{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let line = "7 (a) b) S 1 7 7 34816 7 4194304 0 0 0 0 150 50 0 0 20 0 3 0 12345 8192000 250 0";
        let p = Process::parse(line).unwrap();
        assert_eq!((p.name.as_str(), p.state, p.parent, p.terminal), ("a) b", 'S', 1, 34816));
        assert_eq!((p.cpu_ticks, p.threads, p.start_ticks), (200, 3, 12345));
        assert_eq!((p.virtual_kib, p.resident_kib), (8000, 1000));
        assert_eq!(Process::parse("7 (a"), None);
        assert_eq!(Process::parse(""), None);
    }

    #[test]
    fn what_a_program_calls_itself_is_no_terminal_input() {
        assert_eq!(command(b"sh\0-c\0a\nb\x1b[2J\0", "sh"), "sh -c a?b?[2J");
        assert_eq!(command(b"", "kthreadd"), "[kthreadd]");
    }

    #[test]
    fn columns_follow_the_options_of_ps() {
        let titles = |line: &str| -> Vec<&str> {
            columns(&words(line)).unwrap().into_iter().map(Column::title).collect()
        };
        assert_eq!(titles("-ef"), ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(titles("-o pid,comm"), ["PID", "COMMAND"]);
        assert_eq!(titles("-eo pid,user,args"), ["PID", "USER", "COMMAND"]);
        assert!(columns(&words("-o comm")).is_err());
        assert!(columns(&words("-o pid,nonsense")).is_err());
        assert!(columns(&words("--forest")).is_err());
    }

    #[test]
    fn terminals_and_times() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(136 << 8 | 3), "pts/3");
        assert_eq!(clock(3725), "01:02:05");
        assert_eq!(elapsed(59), "00:59");
        assert_eq!(elapsed(90_061), "1-01:01:01");
    }

    #[test]
    fn we_are_among_our_own_processes() {
        let me = std::process::id();
        let table = table(&[me.cast_signed(), i32::MAX], &[]).unwrap();
        assert!(table.rows.len() == 1 && table.rows[0][1] == me.to_string(), "{table:?}");
    }

    #[test]
    fn text_is_aligned() {
        let row = |words: &str| words.split(' ').map(str::to_owned).collect();
        let table = Processes {
            titles: FULL.iter().map(|c| c.title().to_owned()).collect(),
            rows: vec![
                row("root 1 0 0 08:15 ? 00:00:01 init"),
                row("systemd-resolve 12345678 1 99 Nov24 pts/3 00:00:00 x"),
            ],
            columns: FULL.to_vec(),
        };
        insta::assert_snapshot!(table.text(), @r"
        UID                  PID    PPID  C STIME TTY          TIME CMD
        root                   1       0  0 08:15 ?        00:00:01 init
        systemd-resolve 12345678       1 99 Nov24 pts/3    00:00:00 x
        ");
    }
}
