# The lab asks on standard input and is answered on standard output, one line each. When the lab
# ends, however it ends, its end of the pipe closes and `read` fails: that is the whole guard.
trap '' INT TERM HUP PIPE
names=
if said=$(mkdir -m 700 "$1" 2>&1); then
    echo ok
else
    echo $said
    exit
fi
while read -r verb name; do
    case $verb in
    add)
        if said=$(ip netns add "$name" 2>&1); then
            names="$names $name"
            echo ok
        else
            echo $said
        fi
        ;;
    keep)
        echo ok
        exit
        ;;
    esac
done
remove "$1" $names
