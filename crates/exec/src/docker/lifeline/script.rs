/// The second argument that makes the script end what it finds at once, and itself.
pub(in crate::docker) const SWEEP: &str = "sweep";

/// For any POSIX shell, with `tr` and `grep` beside it; with `tail` it is quick. What marks begin
/// with is an argument and the variable's name is not, so that the script does not find itself.
///
/// It reads lines: an empty one is a beat and is answered with `b`; `s MARK NUMBER` sends a signal
/// to a session's foreground; `e BATCH MARK…` ends sessions in the background and says `d BATCH`;
/// `q` lets it go. At the end of its input, or after ten seconds of silence, it ends all whose mark
/// has its beginning, and looks for half a minute more for who comes late: the engine may still be
/// starting what it was asked to.
///
/// `tr`, because busybox's `grep` sees nothing behind the first zero byte. Behind the name, which may
/// hold anything, a line of `stat` has: state, parent, group, session, terminal, foreground group.
/// Plain dash has no `read -t`: there only the end of the input counts, not silence.
pub(in crate::docker) const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
group=$1 policy=$2
name=LONGSHORE_EXEC_ID
sessions= known=
fields() {
    read -r line <"/proc/$1/stat" || return 1
    set -- ${line##*) }
    state=$1 parent=$2 group_of=$3 session=$4 front=$6
} 2>/dev/null
marked() {
    tr '\000' '\n' <"/proc/$1/environ" | grep -qxE -e "$mark"
} 2>/dev/null
suspects() {
    tail -v -c +1 /proc/[0-9]*/environ | tr '\000' '\n' |
        grep -E "^(==> /proc/[0-9]+/environ <==|$mark)\$" |
        while read -r word file rest; do
            case $word in
                '==>') at=${file#/proc/} at=${at%/environ} ;;
                *) echo "$at" ;;
            esac
        done
} 2>/dev/null
find() {
    found= all=
    # In one go, and then each alone: text in an environment may look like another's.
    ! command -v tail >/dev/null || suspects=" $(suspects | tr '\n' ' ') "
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [ "$pid" -gt 1 ] && [ "$pid" != "$$" ] && fields "$pid" || continue
        case $state in Z | X) continue ;; esac
        all="$all $pid:$parent"
        case " $sessions " in
            *" $session "*) found="$found $pid"; continue ;;
        esac
        case ${suspects-" $pid "} in *" $pid "*) ;; *) continue ;; esac
        case " $known " in
            *" $pid "*) found="$found $pid"; continue ;;
        esac
        if marked "$pid"; then
            known="$known $pid" found="$found $pid"
            [ "$pid" != "$session" ] || sessions="$sessions $session"
        fi
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
    for pid in $found; do kill "-$1" "$pid"; done
} 2>/dev/null
nap() {
    sleep "$1" || sleep 1
} 2>/dev/null
tree() {
    for signal in HUP TERM; do
        find
        [ -n "$found" ] || break
        hit STOP; hit "$signal"; hit CONT
        nap 0.1
    done
    empty=0 round=0
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
        kill "-$1" "-$front"
    done
} 2>/dev/null
finish() {
    if [ "$policy" = foreground ]; then
        for signal in HUP TERM KILL; do foreground "$signal"; nap 0.1; done
    else
        tree
    fi
}
batch() {
    marks=
    for one in $1; do marks="$marks|$one"; done
    mark="$name=(${marks#|})"
    finish
    echo "d $2"
}
if [ "$policy" = sweep ]; then
    mark="$name=$group"
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
mark="$name=$group[0-9a-f]*"
finish
late=0
while [ "$late" -lt 20 ]; do
    late=$((late + 1))
    # Most of what is late comes soon; the rest is not worth a search every half second.
    if [ "$late" -le 6 ]; then nap 0.5; else nap 2; fi
    if [ "$policy" = foreground ]; then
        foreground KILL
    else
        sessions= known=
        find
        [ -z "$found" ] || tree
    fi
done
"#;
