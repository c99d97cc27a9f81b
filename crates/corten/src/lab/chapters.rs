//! The chapters, in the order in which they build on each other.

mod cgroups;
mod container;
mod inspect;
mod namespaces;
mod network;
mod overlay;

use super::Chapter;

/// Those for this machine: commands differ with the version of control groups.
pub fn all(v2: bool) -> [&'static Chapter; 6] {
    [
        &namespaces::CHAPTER,
        &overlay::CHAPTER,
        &network::CHAPTER,
        if v2 { &cgroups::V2 } else { &cgroups::V1 },
        if v2 { &container::V2 } else { &container::V1 },
        &inspect::CHAPTER,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_made_has_a_name_of_the_labs() {
        for chapter in [all(false), all(true)].concat() {
            assert!(chapter.undo.contains("lab-") && !chapter.left.is_empty(), "{}", chapter.name);
            for step in chapter.steps {
                let makes = ["mkdir", "mount -t", "ip link add", "ip netns add", "nft add", "corten run -d"];
                if makes.iter().any(|word| step.run.contains(word)) {
                    assert!(step.run.contains("lab-"), "{}: {}", chapter.name, step.run);
                    assert!(!step.check.is_empty(), "{}: {}", chapter.name, step.run);
                }
                for line in step.run.lines().chain(step.say.lines()) {
                    assert!(line.chars().count() <= 132, "{}: {line}", chapter.name);
                }
            }
        }
    }
}
