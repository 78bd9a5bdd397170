use super::RulePlace::{self, Anywhere, Command};

/// Name, pattern, place.
pub(super) const RULES: [(&str, &str, RulePlace); 20] = [
    // LAIN Entry's own.
    ("vipw", r"vipw|vigr", Command),
    (
        "chmod-777",
        r"chmod\s+(?:-\S+\s+)*(?:0?777|[ugoa]*a[ugoa]*[+=]rwx)\s+\S.*",
        Command,
    ),
    (
        "useradd",
        r"(?:useradd|adduser|groupadd|addgroup)(?:\s.*)?",
        Command,
    ),
    ("nmap", r"nmap(?:\s.*)?", Command),
    (
        "history-clear",
        r"history\s+(?:-\w+\s+)*-\w*[cw]\w*(?:\s.*)?",
        Command,
    ),
    (
        "rm-root",
        r"rm\s+(?:-\S+\s+)*(?:-[a-zA-Z]*[rR][a-zA-Z]*|--recursive)\s+(?:-\S+\s+)*(?:\S+\s+)*(?:/+\*?|/+(?:bin|boot|dev|etc|home|lib\w*|opt|proc|root|run|sbin|srv|sys|usr|var)/*\*?)(?:\s+\S+)*",
        Command,
    ),
    (
        "halt",
        r"(?:halt|poweroff|reboot|shutdown)(?:\s.*)?",
        Command,
    ),
    ("exec", r"exec(?:\s.*)?", Command),
    // Ours.
    (
        "userdel",
        r"(?:userdel|deluser|usermod|groupdel|delgroup)(?:\s.*)?",
        Command,
    ),
    ("passwd", r"(?:passwd|chpasswd)(?:\s.*)?", Command),
    ("visudo", r"visudo(?:\s.*)?", Command),
    ("init", r"(?:tel)?init\s+[06]", Command),
    ("mkfs", r"mkfs(?:\.\w+)?\s.*", Command),
    (
        "dd-device",
        r"dd\s+(?:\S+\s+)*of=/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|dm-|mapper/)\S*(?:\s.*)?",
        Command,
    ),
    (
        "kill-all",
        r"kill\s+(?:(?:-\w+\s+)+(?:--\s+)?|--\s+)-1|killall5(?:\s.*)?",
        Command,
    ),
    (
        "iptables-flush",
        r"ip6?tables\s+(?:\S+\s+)*(?:-F|--flush)(?:\s.*)?|nft\s+flush\s.*",
        Command,
    ),
    (
        "crontab-remove",
        r"crontab\s+(?:-u\s+\S+\s+)?-r(?:\s.*)?",
        Command,
    ),
    (
        "write-accounts",
        r">{1,2}\s*/etc/(?:passwd|shadow|sudoers)\b",
        Anywhere,
    ),
    (
        "reverse-shell",
        r"/dev/(?:tcp|udp)/\S+/\d+|\bnc(?:at)?\s+(?:\S+\s+)*-\w*[ec]\s*(?:/\S*/)?(?:ba|da|z)?sh\b",
        Anywhere,
    ),
    (
        "fork-bomb",
        r":\s*\(\s*\)\s*\{\s*:\s*\|\s*:\s*&\s*\}\s*;\s*:",
        Anywhere,
    ),
];

/// Where a command may begin, with words that run another, settings of variables, and a path.
pub(super) const BEFORE: &str = r#"(?:^|[;&|({`!]|\$\(|\b(?:then|else|do)\s)\s*(?:(?:sudo|doas|command|builtin|nohup|time|nice|env|busybox|setsid|xargs|timeout\s+\S+)(?:\s+-\S+)*\s+|[0-9A-Za-z_]+=\S*\s+)*["'\\]?(?:[0-9A-Za-z_.-]*/)*"#;

/// Where its words end.
pub(super) const BEHIND: &str = r#"["']?\s*(?:$|[;&|)}`<>\s])"#;
