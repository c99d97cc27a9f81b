//! Questions and answers, and bytes that are neither.

use super::*;
use proptest::prelude::*;

struct Web;

impl Zone for Web {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        match name {
            "web" => Some(vec!["10.78.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]),
            "many" => Some((0..200).map(|i| IpAddr::from([10, 78, 0, i])).collect()),
            _ => None,
        }
    }

    fn name(&self, address: IpAddr) -> Option<Option<String>> {
        match address.to_string().as_str() {
            "10.78.0.2" | "fd00::2" => Some(Some("web.net".into())),
            "10.78.0.3" => Some(None),
            _ => None,
        }
    }
}

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(encode(name));
    message.extend(kind.to_be_bytes());
    message.extend(IN.to_be_bytes());
    message
}

fn ask(name: &str, kind: u16) -> Vec<u8> {
    match answer(&query(name, kind), &Web, DATAGRAM, 0) {
        Reply::Answer(message) => message,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn names_have_addresses_of_each_family() {
    let message = ask("WEB", A);
    assert_eq!(message[..12], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(message[12..20], [3, b'W', b'E', b'B', 0, 0, 1, 0]);
    assert_eq!(message[21..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 78, 0, 2]);
    assert!(ask("web", AAAA).ends_with(&[0, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]));
    assert_eq!(number(&ask("web", ANY), 6), 2);
    // No data of that kind, which is not the same as no such name.
    assert_eq!((number(&ask("web", 15), 6), ask("web", 15)[3] & 15), (0, 0));
    assert_eq!(answer(&query("elsewhere", A), &Web, DATAGRAM, 0), Reply::Forward);
}

#[test]
fn addresses_have_names() {
    let web = [&[0, 9][..], &[3, b'w', b'e', b'b', 3, b'n', b'e', b't', 0]].concat();
    assert!(ask("2.0.78.10.in-addr.arpa", PTR).ends_with(&web));
    let six = format!("2.{}d.f.ip6.arpa", "0.".repeat(29));
    assert!(ask(&six, PTR).ends_with(&web));
    assert_eq!(ask("3.0.78.10.in-addr.arpa", PTR)[3] & 15, Code::NoSuchName as u8);
    for name in
        ["1.1.1.1.in-addr.arpa", "1.78.10.in-addr.arpa", "x.0.78.10.in-addr.arpa", "9.2.0.78.10.in-addr.arpa"]
    {
        assert_eq!(answer(&query(name, PTR), &Web, DATAGRAM, 0), Reply::Forward, "{name}");
    }
}

#[test]
fn many_addresses_take_turns_and_fit() {
    let message = ask("many", A);
    assert!(message.len() <= DATAGRAM && number(&message, 6) > 20, "{}", message.len());
    let Reply::Answer(other) = answer(&query("many", A), &Web, DATAGRAM, 7) else { panic!() };
    assert_eq!(other[22 + 12..22 + 16], [10, 78, 0, 7]);
    let mut edns = query("many", A);
    edns[11] = 1;
    edns.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    let Reply::Answer(large) = answer(&edns, &Web, DATAGRAM, 0) else { panic!() };
    assert_eq!(number(&large, 6), 200);
}

#[test]
fn what_is_no_question_is_not_answered_with_more() {
    let mut response = query("web", A);
    response[2] |= 0x80;
    assert_eq!(answer(&response, &Web, DATAGRAM, 0), Reply::Silence);
    assert_eq!(answer(b"short", &Web, DATAGRAM, 0), Reply::Silence);
    let mut status = query("web", A);
    status[2] = 2 << 3;
    let Reply::Answer(message) = answer(&status, &Web, DATAGRAM, 0) else { panic!() };
    assert_eq!((message.len(), message[3] & 15), (12, 4));
    let mut torn = query("web", A);
    torn.truncate(14);
    let Reply::Answer(message) = answer(&torn, &Web, DATAGRAM, 0) else { panic!() };
    assert_eq!(message[3] & 15, 1);
    let mut loops = query("web", A);
    loops[12] = 0xc0;
    let Reply::Answer(message) = answer(&loops, &Web, DATAGRAM, 0) else { panic!() };
    assert_eq!(message[3] & 15, 1);
}

#[test]
fn an_answer_belongs_to_its_question() {
    let asked = query("example.org", A);
    let mut told = refuse(&asked, Code::NoSuchName).unwrap();
    set_id(&mut told, 7);
    assert!(answers(&told, &asked, 7));
    assert!(!answers(&told, &asked, 8));
    assert!(!answers(&told, &query("example.com", A), 7));
    assert!(!answers(&told, &query("example.org", AAAA), 7));
    assert!(!answers(&asked, &asked, id(&asked)), "a question is no answer");
}

proptest! {
    /// Whatever comes, it is not answered with more than fits, and never with a question.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600), turn in any::<usize>()) {
        if let Reply::Answer(message) = answer(&bytes, &Web, DATAGRAM, turn) {
            prop_assert!(message.len() <= 4096.max(DATAGRAM) && message.len() >= HEADER);
            prop_assert!(message[2] & 0x80 != 0);
            prop_assert_eq!(&message[..2], &bytes[..2]);
        }
        let _ = refuse(&bytes, Code::ServerFailure);
        let _ = answers(&bytes, &bytes, 0);
    }

    /// Good questions with a few bytes changed, cut, or added.
    #[test]
    fn damaged_questions(
        name in "(web|many|[a-z0-9.-]{0,80}|[0-9.]{0,20}\\.in-addr\\.arpa|[0-9a-f.]{0,70}\\.ip6\\.arpa)",
        kind in prop_oneof![Just(A), Just(AAAA), Just(PTR), Just(ANY), any::<u16>()],
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in any::<usize>(),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut message = query(&name, kind);
        for (at, byte) in damage {
            let at = at % message.len();
            message[at] = byte;
        }
        if cut % 3 == 0 {
            message.truncate(cut % (message.len() + 1));
        }
        message.extend(tail);
        if let Reply::Answer(answer) = answer(&message, &Web, DATAGRAM, cut) {
            prop_assert!(answer[2] & 0x80 != 0 && answer.len() <= 4096);
        }
    }
}
