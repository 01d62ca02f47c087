#!/bin/sh
# Ends this machine at its deadline, and when it has stood idle: nothing else must have to be alive for that.
#     watchdog.sh LIFETIME_SECONDS IDLE_SECONDS
# Idle is: no job (its process is in job.pid), and no visitor (who touches the file `alive`) for so long.
home=/opt/tenyson
state=/run/tenyson
mkdir -p "$home" "$state"
chmod 0755 "$home" "$state"
# Written at the first boot only: a restart must not make it later.
[ -s "$home/deadline" ] || echo $(($(date +%s) + $1)) >"$home/deadline"
touch "$state/alive"

end() {
    echo "$1" >"$home/ended-because"
    echo "tenyson: $1; this machine ends itself" >/dev/console 2>/dev/null
    sync
    shutdown -h now || poweroff -f
    sleep 60
}

announced=0
shown=
while :; do
    # Read from outside through the provider: what a visitor compares before the first byte is exchanged. An image may carry
    # keys that are regenerated after this began.
    keys=$(cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null)
    [ "$keys" = "$shown" ] || announced=0
    shown=$keys
    if [ "$announced" -lt 3 ] && ls /etc/ssh/ssh_host_*_key.pub >/dev/null 2>&1; then
        for key in /etc/ssh/ssh_host_*_key.pub; do
            echo "tenyson-host-key: $(cut -d' ' -f1,2 "$key")" >/dev/console 2>/dev/null
        done
        announced=$((announced + 1))
    fi
    now=$(date +%s)
    [ "$now" -ge "$(cat "$home/deadline")" ] && end "its longest lifetime is over"
    if [ -s "$state/job.pid" ] && kill -0 "$(cat "$state/job.pid")" 2>/dev/null; then
        touch "$state/alive"
    elif [ $((now - $(stat -c %Y "$state/alive"))) -ge "$2" ]; then
        end "it had nothing to do for $2 seconds"
    fi
    sleep 2
done
