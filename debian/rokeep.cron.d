# Where there is no systemd, and so no rokeep-cleanup.timer: retries what a package run left in use, or could not put back.
# What there is to say is in the system's log, and "rokeep status" says it.
*/10 * * * * root test -d /run/systemd/system || test ! -x /usr/sbin/rokeep || /usr/sbin/rokeep cleanup >/dev/null 2>&1
