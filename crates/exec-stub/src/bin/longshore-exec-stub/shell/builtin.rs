//! The commands that need no program in the image.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::{Errno, read},
    stdio::stdin,
};

use super::{Shell, assignment, shown};

impl Shell {
    /// Obeys what is built in; whether it is.
    pub(super) fn build_in(&mut self, name: &OsStr, arguments: &[OsString]) -> bool {
        // Whoever brings a program of this name gets it by its path.
        let Some(name) = name.to_str() else {
            return false;
        };
        self.code = match name {
            "cat" => self.cat(arguments),
            "cd" => self.change_directory(arguments),
            "echo" => {
                let line = arguments.join(OsStr::new(" "));
                self.print(&[line.as_bytes(), b"\n"].concat());
                0
            }
            "env" if arguments.is_empty() => {
                for (name, value) in &self.variables {
                    self.print(&[name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat());
                }
                0
            }
            "exit" => return self.exit(arguments),
            "export" => self.export(arguments),
            "help" => {
                self.print(HELP.as_bytes());
                0
            }
            "ls" => self.list(arguments),
            "pwd" => match std::env::current_dir() {
                Ok(folder) => {
                    self.print(&[folder.as_os_str().as_bytes(), b"\n"].concat());
                    0
                }
                Err(error) => self.complain("pwd", OsStr::new("."), &error),
            },
            "unset" => {
                for name in arguments {
                    self.variables.remove(name);
                }
                0
            }
            _ => return false,
        };
        true
    }

    fn exit(&mut self, arguments: &[OsString]) -> bool {
        let code = match arguments {
            [] => Some(self.code),
            [code] => code.to_str().and_then(|code| code.parse().ok()),
            _ => None,
        };
        match code {
            Some(code) => (self.code, self.over) = (code, true),
            None => self.fail(2, "exit takes a number from 0 to 255"),
        }
        true
    }

    fn change_directory(&mut self, arguments: &[OsString]) -> u8 {
        let home = || {
            let home = self.variables.get(OsStr::new("HOME")).cloned();
            home.unwrap_or_else(|| "/".into())
        };
        let to = match arguments {
            [] => home(),
            [to] => to.clone(),
            _ => {
                self.note("cd takes one folder");
                return 2;
            }
        };
        if let Err(error) = std::env::set_current_dir(&to) {
            return self.complain("cd", &to, &error);
        }
        if let Ok(folder) = std::env::current_dir() {
            self.variables.insert("PWD".into(), folder.into());
        }
        0
    }

    fn export(&mut self, arguments: &[OsString]) -> u8 {
        let mut code = 0;
        for word in arguments {
            match assignment(word) {
                Some((name, value)) => drop(self.variables.insert(name, value)),
                None => {
                    self.note(&format!("export takes NAME=value, not {}", shown(word)));
                    code = 2;
                }
            }
        }
        code
    }

    /// Files one after another, or the input.
    fn cat(&self, arguments: &[OsString]) -> u8 {
        let mut code = 0;
        if arguments.is_empty()
            && let Err(error) = self.copy(stdin())
        {
            return self.complain("cat", OsStr::new("the input"), &error);
        }
        for path in arguments {
            if self.is_interrupted() {
                break;
            }
            let mut options = fs::File::options();
            // A pipe without a writer would hold the opening up, and nothing ends that.
            options
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits() as i32);
            let copied = options.open(path).and_then(|file| self.copy(file.as_fd()));
            if let Err(error) = copied {
                code = self.complain("cat", path, &error);
            }
        }
        code
    }

    /// Everything to the output, until an interrupt. Who reads no more is no failure of the file.
    fn copy(&self, from: BorrowedFd<'_>) -> io::Result<()> {
        let mut buffer = vec![0; 32 * 1024];
        while !self.is_interrupted() {
            // An interrupt ends this wait, and not that of a read: its handler has it begun again. One
            // that comes right before is seen after a moment.
            let mut waited = [PollFd::from_borrowed_fd(from, PollFlags::IN)];
            match poll(&mut waited, Some(&MOMENT)) {
                Ok(0) | Err(Errno::INTR) => continue,
                // What was typed behind the interrupt is the helper's.
                _ if self.is_interrupted() => break,
                // What can't be waited for can be read.
                _ => {}
            }
            match read(from, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    if io::Write::write_all(&mut io::stdout(), &buffer[..count]).is_err() {
                        return Ok(());
                    }
                    let _ = io::Write::flush(&mut io::stdout());
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn list(&self, arguments: &[OsString]) -> u8 {
        let (mut all, mut long, mut paths) = (false, false, Vec::new());
        for argument in arguments {
            match argument.as_bytes() {
                [b'-', flags @ ..] if !flags.is_empty() => {
                    for flag in flags {
                        match flag {
                            b'a' => all = true,
                            b'l' => long = true,
                            _ => {
                                self.note("ls knows -a and -l");
                                return 2;
                            }
                        }
                    }
                }
                _ => paths.push(PathBuf::from(argument)),
            }
        }
        if paths.is_empty() {
            paths.push(PathBuf::from("."));
        }
        let mut code = 0;
        let several = paths.len() > 1;
        for path in paths {
            if self.is_interrupted() {
                break;
            }
            if !path.is_dir() {
                code = code.max(self.show(&path, path.as_os_str(), long));
                continue;
            }
            if several {
                self.print(format!("{}:\n", shown(path.as_os_str())).as_bytes());
            }
            let names = fs::read_dir(&path).and_then(|entries| {
                let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
                names.collect::<io::Result<Vec<_>>>()
            });
            match names {
                Ok(mut names) => {
                    names.retain(|name| all || !name.as_bytes().starts_with(b"."));
                    names.sort_unstable();
                    for name in names {
                        if self.is_interrupted() {
                            break;
                        }
                        code = code.max(self.show(&path.join(&name), &name, long));
                    }
                }
                Err(error) => code = self.complain("ls", path.as_os_str(), &error),
            }
        }
        code
    }

    /// One line of a listing.
    fn show(&self, path: &Path, name: &OsStr, long: bool) -> u8 {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) => return self.complain("ls", name, &error),
        };
        let mut line = if long { details(&found) } else { String::new() };
        // A name may hold what moves a terminal's cursor; in a pipe it is what it is.
        let mut bytes = std::mem::take(&mut line).into_bytes();
        match self.is_terminal {
            true => bytes.extend(shown(name).as_bytes()),
            false => bytes.extend(name.as_bytes()),
        }
        if long && let Ok(to) = fs::read_link(path) {
            bytes.extend(b" -> ");
            bytes.extend(shown(to.as_os_str()).as_bytes());
        }
        bytes.push(b'\n');
        self.print(&bytes);
        0
    }

    fn complain(&self, what: &str, name: &OsStr, error: &io::Error) -> u8 {
        self.note(&format!("{what}: {}: {error}", shown(name)));
        1
    }
}

/// Kind, permissions, owner, group and size.
fn details(found: &Metadata) -> String {
    let kind = found.file_type();
    let letter = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_char_device() => 'c',
        () if kind.is_block_device() => 'b',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () => '-',
    };
    let mode = found.mode();
    let rights: String = (0..9)
        .map(|at| match mode >> (8 - at) & 1 {
            1 => ['r', 'w', 'x'][at % 3],
            _ => '-',
        })
        .collect();
    let (user, group, size) = (found.uid(), found.gid(), found.size());
    format!("{letter}{rights} {user:>5} {group:>5} {size:>10} ")
}

const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const HELP: &str = "\
A line is a program with its arguments, or one of these:
  cat [FILE…]        show files, or copy the input
  cd [FOLDER]        go there
  echo [WORD…]       say it
  env                show the variables
  exit [CODE]        leave
  export NAME=value  set variables; NAME=value alone does, too
  ls [-a] [-l] [PATH…]
  pwd                where we are
  unset NAME…        forget variables
Quotes ' and \", \\ and $NAME are as in a shell. There are no pipes, no redirections, no jobs and no
patterns: what needs those needs a shell in the image.
";
