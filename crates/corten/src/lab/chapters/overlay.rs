//! Overlays: layers below, one directory to write to above.

use crate::lab::{Chapter, Step};

pub const CHAPTER: Chapter = Chapter {
    name: "overlay",
    about: "A file system made of layers",
    needs: &[("mount", "mount"), ("find", "findutils")],
    steps: &[
        Step {
            say: "Five directories, on a small file system in memory: two layers to read from, one directory to write to, one that\n\
                  overlayfs works in, and the place where all of it is seen as one.",
            run: "mkdir -p /run/lab-overlay\n\
                  mountpoint -q /run/lab-overlay || mount -t tmpfs lab-overlay /run/lab-overlay\n\
                  mkdir -p /run/lab-overlay/{lower1,lower2,upper,work,merged}",
            show: "find /run/lab-overlay | sort",
            check: "[ -d /run/lab-overlay/merged ] && mountpoint -q /run/lab-overlay",
            ..Step::NONE
        },
        Step {
            say: "A file in each of the layers:",
            run: "echo 'Lower 1 - original' >/run/lab-overlay/lower1/file1.txt\n\
                  echo 'Lower 2 - original' >/run/lab-overlay/lower2/file2.txt",
            show: "grep -rH . /run/lab-overlay | sort",
            check: "[ -s /run/lab-overlay/lower1/file1.txt ] && [ -s /run/lab-overlay/lower2/file2.txt ]",
            ..Step::NONE
        },
        Step {
            say: "The overlay. Of lowerdir, the leftmost is the topmost. The merged directory shows the files of both:",
            run: "cd /run/lab-overlay && mount -t overlay \\\n    \
                  -o lowerdir=lower1:lower2,upperdir=upper,workdir=work none merged",
            show: "grep lab-overlay /proc/self/mounts; ls -1 /run/lab-overlay/merged",
            check: "mountpoint -q /run/lab-overlay/merged && [ -s /run/lab-overlay/merged/file2.txt ]",
            ..Step::NONE
        },
        Step {
            say: "Now write: a new file, and a change to one that is in a layer. Both go to the upper directory: the old file is\n\
                  copied up first, and the layer stays as it was. This is how many containers share one image.",
            run: "echo 'file created in merged directory' >/run/lab-overlay/merged/file_created.txt\n\
                  echo 'file 1 modified' >/run/lab-overlay/merged/file1.txt",
            show: "grep -rH . /run/lab-overlay/{lower1,lower2,upper,merged} | sort",
            check: "[ -s /run/lab-overlay/upper/file_created.txt ] && grep -q modified /run/lab-overlay/upper/file1.txt && \
                    grep -q original /run/lab-overlay/lower1/file1.txt",
            ..Step::NONE
        },
        Step {
            say: "A file of a layer can't be deleted, only hidden: by a whiteout, a character device with the numbers 0, 0.",
            run: "rm /run/lab-overlay/merged/file2.txt\n\
                  ls -l /run/lab-overlay/upper /run/lab-overlay/lower2",
            check: "[ -c /run/lab-overlay/upper/file2.txt ] && [ -f /run/lab-overlay/lower2/file2.txt ] && \
                    [ ! -e /run/lab-overlay/merged/file2.txt ]",
            ..Step::NONE
        },
        Step {
            say: "Without the overlay, the layers are what they were, and all that was written is in the upper directory:",
            run: "umount /run/lab-overlay/merged\n\
                  cd /run/lab-overlay && find . -name '*.txt' -type f | sort | \\\n    \
                  while read fn; do echo \">> cat $fn\"; cat $fn; done",
            check: "! mountpoint -q /run/lab-overlay/merged && [ -z \"$(ls /run/lab-overlay/merged)\" ]",
            ..Step::NONE
        },
    ],
    undo: "umount /run/lab-overlay/merged 2>/dev/null\n\
           umount /run/lab-overlay 2>/dev/null\n\
           rmdir /run/lab-overlay 2>/dev/null",
    left: "ls -d /run/lab-overlay 2>/dev/null; grep lab-overlay /proc/self/mounts",
    end: "An image is a list of such layers, and a container adds one upper directory. 'corten layers NAME' shows which layer gives which file.",
};
