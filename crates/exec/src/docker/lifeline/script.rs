/// The second argument that makes the script end what it finds at once, and itself.
pub(in crate::docker) const SWEEP: &str = "sweep";

/// For any POSIX shell, with `tr` and `grep` beside it; it is quick where `grep` knows `-z` (GNU's and
/// busybox's do), and less slow with `tail`. What marks begin with is an argument and the variable's
/// name is not, so that the script does not find itself.
///
/// It reads lines: an empty one is a beat and is answered with `b`; `s MARK NUMBER` sends a signal
/// to a session's foreground; `e BATCH MARK…` ends sessions in the background and says `d BATCH`;
/// `q` lets it go. At the end of its input, or after ten seconds of silence, it ends all whose mark
/// has its beginning, and looks for half a minute more for who comes late: the engine may still be
/// starting what it was asked to.
///
/// `tr`, because an older busybox's `grep` sees nothing behind the first zero byte. Behind the name,
/// which may hold anything, a line of `stat` has: state, parent, group, session, terminal, foreground
/// group.
/// All processes are searched by one command, unless they are more than a command line holds: some
/// 70,000, or 4,600 where stacks are small. That a search was one is seen by what it surely finds, the
/// sample in its input or the first file's name, because shells don't agree on how they say that a
/// command can't be run. Then it is done in pieces, or process by process.
///
/// Plain dash has no `read -t`: there only the end of the input counts, not silence.
///
/// A search costs tens of milliseconds, so what one finds is stopped, hung up, asked to end and
/// killed in one go. Only for those who do something of their own about a hang-up or a request to
/// end (a handler, or the signal held back: `SigCgt` and `SigBlk`, proc(5)) there is a pause, until
/// they are gone, and a tenth of a second at most behind each. The searches that follow are for who
/// was born meanwhile. Process numbers come round far more slowly than that.
pub(in crate::docker) const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
group=$1 policy=$2
name=LONGSHORE_EXEC_ID
sessions= known= zeros=
[ "$(printf 'x\000y' | grep -czx y 2>/dev/null)" != 1 ] || zeros=1
fields() {
    read -r line <"/proc/$1/stat" || return 1
    set -- ${line##*) }
    state=$1 parent=$2 group_of=$3 session=$4 front=$6
} 2>/dev/null
marked() {
    if [ -n "$zeros" ]; then
        grep -qzxE -e "$mark" "/proc/$1/environ"
    else
        tr '\000' '\n' <"/proc/$1/environ" | grep -qxE -e "$mark"
    fi
} 2>/dev/null
suspects() {
    ran=
    tail -v -c +1 /proc/[0-9]*/environ | tr '\000' '\n' |
        grep -E "^(==> /proc/[0-9]+/environ <==|$mark)\$" |
        while read -r word file rest; do
            case $word in
                '==>')
                    [ -n "$ran" ] || echo ran
                    ran=1 at=${file#/proc/} at=${at%/environ}
                    ;;
                *) echo "$at" ;;
            esac
        done
} 2>/dev/null
searched() {
    ran=
    set -- $(printf %s "$sample" | grep -lzxE -e "$mark" - "$@")
    for file; do
        case $file in
            /proc/*) file=${file#/proc/} owners="$owners ${file%/environ}" ;;
            *) ran=1 ;;
        esac
    done
    [ -n "$ran" ]
}
carriers() {
    owners=
    if [ -n "$zeros" ]; then
        searched /proc/[0-9]*/environ && return
        some= count=0
        for dir in /proc/[0-9]*; do
            some="$some $dir/environ" count=$((count + 1))
            [ "$count" -lt 64 ] || { searched $some; some= count=0; }
        done
        [ -z "$some" ] || searched $some
        return
    fi
    # In one go, and then each alone: text in an environment may look like another's.
    set --
    ! command -v tail >/dev/null || set -- $(suspects)
    if [ "$1" = ran ]; then shift; else set -- /proc/[0-9]*; fi
    for pid; do
        pid=${pid#/proc/}
        case " $known " in
            *" $pid "*) ;;
            *) marked "$pid" || continue; known="$known $pid" ;;
        esac
        owners="$owners $pid"
    done
} 2>/dev/null
find() {
    found= all=
    carriers
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [ "$pid" -gt 1 ] && [ "$pid" != "$$" ] && fields "$pid" || continue
        case $state in Z | X) continue ;; esac
        all="$all $pid:$parent"
        case " $owners " in
            *" $pid "*)
                found="$found $pid"
                [ "$pid" != "$session" ] || sessions="$sessions $session"
                continue
                ;;
        esac
        case " $sessions " in *" $session "*) found="$found $pid" ;; esac
    done
    more=1
    while [ -n "$more" ]; do
        more=
        for pair in $all; do
            case " $found " in *" ${pair%:*} "*) continue ;; esac
            case " $found " in *" ${pair#*:} "*) found="$found ${pair%:*}" more=1 ;; esac
        done
    done
}
hit() {
    [ -z "$found" ] || kill "-$1" $found
} 2>/dev/null
nap() {
    sleep "$1" || sleep 1
} 2>/dev/null
minders() {
    files=
    for pid in $found; do files="$files /proc/$pid/status"; done
    set -- $(grep -lE '^Sig(Cgt|Blk):.*([13579bdf]|[4567cdef]...)$' $files)
    minders=
    for file; do file=${file#/proc/} minders="$minders ${file%/status}"; done
} 2>/dev/null
grace() {
    tries=0
    while [ "$tries" -lt 8 ]; do
        tries=$((tries + 1)) waiting=
        for pid in $minders; do
            fields "$pid" || continue
            case $state in Z | X) ;; *) waiting=1 ;; esac
        done
        [ -n "$waiting" ] || return 0
        sleep 0.0125 || { sleep 1; return 0; }
    done
} 2>/dev/null
tree() {
    find
    empty=0 round=0
    if [ -n "$found" ]; then
        minders
        for signal in HUP TERM; do
            hit STOP; hit "$signal"; hit CONT
            grace
        done
        hit STOP; hit KILL
    else
        empty=1
    fi
    while [ "$empty" -lt 2 ] && [ "$round" -lt 200 ]; do
        round=$((round + 1))
        find
        empty=$((empty + 1))
        [ -z "$found" ] || { hit STOP; hit KILL; empty=0; }
    done
}
foreground() {
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        fields "$pid" && [ "$parent" = 0 ] && [ "$pid" -gt 1 ] && marked "$pid" || continue
        [ "$front" -gt 0 ] || front=$group_of
        [ "$2" = end ] && [ "$front" = "$group_of" ] || kill "-$1" "-$front"
        # A shell that is hung up passes it on to what is in its background.
        [ "$2" = end ] && [ "$1" != HUP ] && kill "-$1" "-$group_of"
    done
} 2>/dev/null
finish() {
    if [ "$policy" = foreground ]; then
        for signal in HUP TERM KILL; do foreground "$signal" end; nap 0.1; done
    else
        tree
    fi
}
batch() {
    marks=
    for one in $1; do marks="$marks|$one" sample=$name=$one; done
    mark="$name=(${marks#|})"
    finish
    echo "d $2"
}
if [ "$policy" = sweep ]; then
    mark="$name=$group" sample=$name=$group
    tree
    exit 0
fi
command -v tr >/dev/null && command -v grep >/dev/null || exit 1
limit='-t 10'
read -t 1 nothing </dev/null 2>/dev/null
[ "$?" -le 1 ] || limit=
echo ready
batches=
while read -r $limit word rest; do
    case $word in
        '')
            echo b
            # So that those that have ended are buried.
            [ -z "$batches" ] || jobs >/dev/null 2>&1 || (:)
            ;;
        s) mark="$name=${rest% *}"; foreground "${rest#* }" ;;
        e) batches=1; batch "${rest#* }" "${rest%% *}" & ;;
        q) exit 0 ;;
    esac
done
mark="$name=$group[0-9a-f]*" sample=$name=$group
finish
late=0
while [ "$late" -lt 20 ]; do
    late=$((late + 1))
    # Most of what is late comes soon; the rest is not worth a search every half second.
    if [ "$late" -le 6 ]; then nap 0.5; else nap 2; fi
    if [ "$policy" = foreground ]; then
        foreground KILL end
    else
        sessions= known=
        find
        [ -z "$found" ] || tree
    fi
done
"#;

#[cfg(all(test, target_os = "linux"))]
mod tests;
