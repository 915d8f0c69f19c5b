# One lab's namespaces and directory. `remove` is also what the user runs to end a kept lab.
# usage: remove DIRECTORY NAMESPACE...
remove() {
    directory=$1
    shift
    for name in "$@"; do
        looks=0
        while pids=$(ip netns pids "$name" 2>/dev/null) && [ -n "$pids" ] && [ $looks -lt 200 ]; do
            kill -9 $pids 2>/dev/null
            looks=$((looks + 1))
            sleep 0.02
        done
        ip netns delete "$name" 2>/dev/null
    done
    rm -rf "$directory"
}
