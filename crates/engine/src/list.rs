//! All containers, by their records: however many there are, each is opened once and read by one call.

use crate::{Container, Engine, Error, Result, State};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::cmp::Reverse;

impl Engine {
    /// All containers, newest first. One that is being made or removed at this moment, or that cannot be read, is left out.
    pub fn list(&self) -> Result<Vec<(Container, State)>> {
        self.listed(false, &|_| true)
    }

    /// The same of those that run or will run again by themselves: of the others nothing is read.
    pub fn list_running(&self) -> Result<Vec<(Container, State)>> {
        self.listed(true, &|_| true)
    }

    /// The same as [`Engine::list`] for who takes away what no container needs: not to know what one of them needs is an error then.
    pub fn list_for_removal(&self) -> Result<Vec<(Container, State)>> {
        self.listed(false, &Error::is_not_found)
    }

    fn listed(&self, running: bool, passed_over: &dyn Fn(&Error) -> bool) -> Result<Vec<(Container, State)>> {
        let path = self.root.join("containers");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| Error::io("cannot read", &path, e))?;
        let mut records = Records { dir, text: vec![0; 16 << 10], length: 0 };
        let mut all = Vec::new();
        for id in self.ids()? {
            match self.one(&mut records, &id, running) {
                Ok(one) => all.extend(one),
                Err(error) if passed_over(&error) => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_by_cached_key(|(container, _)| (Reverse(container.created), container.id.clone()));
        Ok(all)
    }

    fn one(&self, records: &mut Records, id: &str, running: bool) -> Result<Option<(Container, State)>> {
        let living = self.living(id, records.state(id, "running.json")?)?;
        if running && !matches!(living, Some(State::Running { .. } | State::Restarting { .. })) {
            return Ok(None);
        }
        let failed = |e: std::io::Error| Error::io("cannot read", format!("{id}/config.json"), e);
        records.read(id, "config.json").map_err(|e| match e {
            Errno::NOENT => Error::no_container(id),
            _ => failed(e.into()),
        })?;
        let container = serde_json::from_slice(records.text()).map_err(|e| failed(e.into()))?;
        let state = match living {
            Some(state) => state,
            None => records.state(id, "state.json")?.unwrap_or(State::Created),
        };
        Ok(Some((container, state)))
    }
}

/// The files of containers, one after the other in the same memory.
struct Records {
    dir: OwnedFd,
    text: Vec<u8>,
    length: usize,
}

impl Records {
    fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }

    fn read(&mut self, id: &str, name: &str) -> rustix::io::Result<()> {
        self.length = 0;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, format!("{id}/{name}"), flags, Mode::empty())?;
        loop {
            let room = self.text.len() - self.length;
            let n = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut self.text[self.length..]))?;
            self.length += n;
            // Of a file on a disk there is no more, then.
            if n < room {
                return Ok(());
            }
            self.text.resize(2 * self.text.len(), 0);
        }
    }

    /// `None`: there is no such file, or it was not written yet when the power failed.
    fn state(&mut self, id: &str, name: &str) -> Result<Option<State>> {
        let failed = |e: std::io::Error| Error::io("cannot read", format!("{id}/{name}"), e);
        match self.read(id, name) {
            Ok(()) if self.length == 0 => Ok(None),
            Ok(()) => serde_json::from_slice(self.text()).map(Some).map_err(|e| failed(e.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(failed(e.into())),
        }
    }
}
