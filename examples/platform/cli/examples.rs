//! What stands below the help of each command.

pub const EXAMPLES: &str = "\
Examples:
  platform                                   start the embedded platform, stop it with Ctrl-C
  platform demo                              show the same and exit
  platform manage --discovery file:///etc/longshore/nodes -H unix:///run/longshore.sock
  docker -H unix:///run/longshore.sock run -d -e constraint:zone==eu nginx
  platform enter web-1                       a shell in a container, wherever it runs
  platform explain -H unix:///run/longshore.sock web-1";

pub const CREATE_EXAMPLES: &str = "\
Examples:
  platform create --service https://discovery.example
  platform list token://discovery.example/$(platform create --service https://discovery.example)";

pub const SERVER_EXAMPLES: &str = "\
Examples:
  platform discovery-server --store /var/lib/longshore/tokens.redb
  platform create --service http://127.0.0.1:7171
  platform join --advertise 10.0.0.7:2375 token://127.0.0.1:7171/TOKEN --discovery-opt token.plain=true";

pub const KV_EXAMPLES: &str = "\
Examples:
  platform kv ls etcd://10.0.0.1:2379 docker/swarm/
  platform kv get consul://10.0.0.1:8500/cluster docker/swarm/leader
  platform kv watch zk://10.0.0.1:2181/cluster
  platform kv ls raft://a=127.0.0.1:7301,b=127.0.0.1:7302,c=127.0.0.1:7303/cluster docker/";

pub const STACK_EXAMPLES: &str = "\
Examples:
  platform stack deploy -H unix:///run/longshore.sock shop.json
  platform stack ls -H unix:///run/longshore.sock
  platform stack rm -H unix:///run/longshore.sock shop

shop.json:
  {
    \"name\": \"shop\",
    \"services\": [
      { \"name\": \"db\", \"replicas\": 1, \"template\": { \"image\": \"postgres\" } },
      { \"name\": \"web\", \"replicas\": 2, \"depends_on\": [\"db\"], \"constraints\": [\"zone==eu\"],
        \"template\": { \"image\": \"nginx\", \"env\": [\"MODE=live\"], \"restart\": \"always\" } }
    ]
  }

A service can also say \"devices\": [\"2 gpu where memory>=16GiB\"], and \"registry_credentials\": \"NAME\"
for what its managers know by 'platform manage --registry-config'.
Where the managers keep stacks, see 'platform manage --help', longshore.stacks.";

pub const PENDING_EXAMPLES: &str = "\
Examples:
  platform pending run --name train --gpus 2 --patience 12h trainer train.py
  platform pending ls
  platform pending rm train

What waits is tried again when something changes that could help it: the highest priority first, and of
the same priority one of each owner in turn, his oldest. An owner has at most a quarter of the 1,000
places, and all stacks together half.

What an engine refuses for a reason that may pass (it is busy, can't be reached, or a name is not free
yet) waits and is tried again, 8 times in all; 'ls' says what was said last. Where an answer was lost, the
node is asked first whether it has it, so it is never made twice. What can't pass, such as an image that no
registry has, ends it. It waits in the manager that leads, and ends with it.";

pub const LIST_EXAMPLES: &str = "\
Examples:
  platform list nodes://10.0.0.[10:12]:2375
  platform list --timeout 2s file:///etc/longshore/nodes
  platform list etcd://10.0.0.1:2379,10.0.0.2:2379/cluster";

pub const MANAGE_EXAMPLES: &str = "\
Examples:
  platform manage --discovery file:///etc/longshore/nodes -H unix:///run/longshore.sock
  platform manage nodes://10.0.0.1:2375,10.0.0.2:2375 --strategy binpack
  platform manage --tunnel 0.0.0.0:7443 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem \\
      -H unix:///run/longshore.sock
  platform manage file:///etc/longshore/nodes --exec-stub ./longshore-exec-stub --state /var/lib/longshore
  platform manage etcd://10.0.0.1:2379/cluster --replication --advertise 10.0.0.5:4000 \\
      -H tcp://10.0.0.5:4000 --tlsverify --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem
  platform manage 'raft://a=10.0.0.1:7300,b=10.0.0.2:7300,c=10.0.0.3:7300/cluster?self=a&dir=/var/lib/longshore/raft' \\
      --discovery-opt kv.cacertfile=ca.pem --discovery-opt kv.certfile=cert.pem \\
      --discovery-opt kv.keyfile=key.pem --replication --advertise 10.0.0.1:4000 \\
      -H tcp://10.0.0.1:4000 --tlsverify --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem

The file holds one host:port a line; ranges such as 10.0.0.[1:9]:2375 expand, # begins a comment.";

pub const JOIN_EXAMPLES: &str = "\
Examples:
  platform join --tunnel plane.example:7443 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem
  platform join --tunnel plane.example:7443 --label zone=eu --engine process \\
      --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem
  platform join --advertise 10.0.0.7:2375 etcd://store:2379/cluster";

pub const EXEC_EXAMPLES: &str = "\
Examples:
  platform exec -H unix:///run/longshore.sock web-1 date
  platform exec -it web-1 sh";

pub const ENTER_EXAMPLES: &str = "\
Examples:
  platform enter web-1                              a shell: bash, else sh
  platform enter web-1 -- top
  echo hello | platform enter web-1 -- wc -c        no terminal: bytes pass as they are
  platform enter --node node-2 web-1 -- sh -c 'exit 7'; echo $?
  platform enter -it web-1 sh                       as with docker exec; -t alone is the same
  platform enter -i web-1 sh < script.sh            input, and no terminal
  platform enter --cleanup foreground web-1         what is put into the background may stay
  platform enter -H tcp://plane:2376 --tlsverify --tlscacert ca.pem --tlscert me.pem --tlskey me-key.pem web-1

Where input is a terminal, at the beginning of a line:
  ~.   leave; what runs there is ended        ~^Z  suspend the client
  ~W   who else is here, and who types        ~G3  and Enter: lend the keyboard to number 3
  ~T   take the keyboard back                 ~?   this list
  ~~   send one ~
Without a terminal in the container they take effect with Enter, and Ctrl-C leaves, too.

Others look on with 'platform watch', and you are told so. While somebody has your keyboard, what you
type goes nowhere.

Exit code: the command's own; 128 + n when signal n ended it, also where the platform sent it, because the
session was idle for too long or the control plane stops: the error output says so; 126 or 127 when it can't
be run; 255 when you left with ~., or when the platform could not do its part. A lost connection is resumed
without loss, see --patience.";

pub const ATTACH_EXAMPLES: &str = "\
Examples:
  platform attach web-1                   output from now on
  platform attach --backlog web-1 | grep error

How to leave, so that the container goes on (a line at the beginning says which of the two it is):
  a container without a terminal    Ctrl-C, or ~. and Enter
  a container with a terminal       ~. at the beginning of a line. Ctrl-C and all other keys go to its
                                    program, which they may end. With --no-stdin Ctrl-C leaves here, too.

Exit code: that of the container's process, if it ends meanwhile; 130 when you left with Ctrl-C, 0 when with
an escape; 255 when the platform could not do its part.";

pub const WATCH_EXAMPLES: &str = "\
Examples:
  platform sessions --live                which sessions there are
  platform watch 3f9a                     look on at one, by the beginning of its id; Ctrl-C leaves
  platform watch --approve 3f9a           its input goes through where it is moderated, and its owner may
                                          lend you the keyboard: ~G, your number and Enter

What was shown before you came and is still kept comes first. Leaving ends nothing, and gives the keyboard
back. With --approve on a terminal all keys go there once you have the keyboard; at the beginning of a line
  ~.   leave                                  ~W   who else is here, and who types
  ~G3  and Enter: pass the keyboard on        ~?   this list

Exit code: 0 when you left or the session ended, whatever its command said; 255 when it was lost.";

pub const REPLAY_EXAMPLES: &str = "\
Examples:
  platform sessions                                which sessions are recorded
  platform replay SESSION
  platform replay --speed 4 --max-idle 1 SESSION   four times as fast, no pause longer than a second
  platform replay --to session.cast SESSION        for asciinema, or any other player of asciicast
  platform replay --to - SESSION | gzip > session.cast.gz

Ctrl-C leaves. The terminal is put back as it was, whatever the recording did to it; its size is yours, so a
recording of a larger one looks torn. Sessions are recorded where the control plane is started with
--exec-records. Exit code: 0 when all of it was shown or written, 1 when not, 128 + n for signal n.";

pub const SIGNAL_EXAMPLES: &str = "\
Examples:
  platform signal 3f9a HUP                what runs in the session whose id begins so reloads
  platform signal 3f9a KILL               it ends; 'platform end' ends what it started, too

The signal goes to the session's foreground processes. When this is answered it is on its way; that the
container's engine has no way to send it is told to who types in the session, and in the manager's log.";

pub const CP_EXAMPLES: &str = "\
Examples:
  platform cp web-1:/etc/nginx ./nginx            a folder, under a name of its own
  platform cp web-1:/var/log/app.log .            a file, under its own name
  platform cp ./site web-1:/srv/                  into a folder that is there
  platform cp ./a:b web-1:/srv/                   a local name with a colon begins with ./ or /
  platform cp node-2/web-1:/etc/hosts .           a container of that node
  platform cp -L web-1:/etc/localtime .           the file that a link leads to
  platform cp web-1:/etc - | tar -t               an archive to the standard output
  tar -c site | platform cp - web-1:/srv          an archive from the standard input

Nothing is written outside of LOCAL, whatever the container sends: symlinks that lead outside, devices and
pipes are left out, and said so. Owners are yours here, and root's in the container.
Containers of the process engine have no file system of their own; copy on the node instead.";

pub const EXPLAIN_EXAMPLES: &str = "\
Examples:
  platform explain web-1
  platform explain --image nginx -e constraint:zone==eu -m 2g -p 80:80
  platform explain --image trainer --gpus 2
  platform explain --image nginx -e constraint:zone==eu --without constraint:zone==eu
  platform explain --image nginx -e constraint:zone==eu --with-node cpu=4,memory=8GiB,label=zone=eu

WHY lists what makes up a node's weight: percents of CPU and memory in use with this work (100 where none
are asked for) and ten times its health. spread takes the least, binpack the most.";

pub const CERT_EXAMPLES: &str = "\
Examples:
  platform cert init ca
  platform cert issue --ca ca --role manager --name plane --san plane.example --san 10.0.0.1 --out plane
  platform cert issue --ca ca --name node-1 --out node-1
  platform cert issue --ca ca --name node-1 --out node-1 --force --validity 90d   (renewal)
  platform cert issue --ca ca --role client --name alice --out alice";
