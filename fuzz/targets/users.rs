//! An image's passwd and group files, and who somebody is in them: a number in range, or an error of one line.
#![no_main]

use engine::users::find;
use libfuzzer_sys::fuzz_target;

// A word in the first line, then the two files with a line between them that ends the first.
fuzz_target!(|input: &str| {
    let (word, files) = input.split_once('\n').unwrap_or((input, ""));
    let (passwd, group) = files.split_once("\n--\n").unwrap_or((files, files));
    let names = passwd.lines().chain(group.lines()).filter_map(|line| line.split(':').next());
    for word in [word, "0", "1000", "root:root"].into_iter().chain(names.take(5)) {
        match find(word, passwd, group, &[word.to_owned()]) {
            Ok(user) => {
                let ids = [user.uid, user.gid].into_iter().chain(user.groups.iter().copied());
                assert!(ids.max() <= Some(i32::MAX as u32), "{user:?}");
                let number = word.split(':').next().unwrap_or_default();
                if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
                    assert_eq!(number.parse(), Ok(user.uid), "{word}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
