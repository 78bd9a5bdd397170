# Removes everything of one lab. Everything is found by name, so it works from
# any state, twice, and after the owner was killed.
# usage: sh -c TEXT teardown ID DIRECTORY [wait]
# With "wait" it first waits until stdin ends: until the owner is gone.
id=$1 dir=$2
[ "${3:-}" = wait ] && { read -r _ || :; }
PATH=$PATH:/usr/sbin:/sbin
prefix="lsl$id"

spaces() { ls /run/netns 2>/dev/null | grep "^$prefix-h[0-9]*\$"; }

# The first process of a host is also the first of its process namespace: with
# it the kernel ends the engine, the shims and the containers.
tries=0
while [ $tries -lt 150 ]; do
    alive=
    for space in $(spaces); do
        for pid in $(ip netns pids "$space" 2>/dev/null); do
            alive=1
            kill -KILL "$pid" 2>/dev/null
        done
    done
    [ -z "$alive" ] && break
    tries=$((tries + 1))
    sleep 0.05
done

for space in $(spaces); do ip netns delete "$space"; done
for link in $(ls /sys/class/net | grep -x "$prefix\(-h[0-9]*\)\{0,1\}"); do
    ip link delete "$link" 2>/dev/null
done

# iproute2 makes this mount for the first namespace and keeps it after the last.
[ -z "$(ls /run/netns 2>/dev/null)" ] && umount /run/netns 2>/dev/null

# Busy for a moment after the last process died.
tries=0
while [ $tries -lt 100 ]; do
    find /sys/fs/cgroup -mindepth 1 -depth -type d -path "*/$prefix-h*" -exec rmdir {} + 2>/dev/null
    rm -rf --one-file-system "$dir" 2>/dev/null
    left=$(find /sys/fs/cgroup -mindepth 1 -type d -path "*/$prefix-h*" 2>/dev/null)
    [ -z "$left" ] && [ ! -e "$dir" ] && break
    tries=$((tries + 1))
    sleep 0.05
done
exit 0
