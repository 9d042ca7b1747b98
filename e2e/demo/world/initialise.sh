#!/bin/sh
# Creates production's data directory, once. An interrupted load leaves nothing: the directory is
# renamed when it is complete.
set -eu
umask 077

if [ -e "$PGDATA/PG_VERSION" ]; then
    echo "$PGDATA is there already"
    exit 0
fi

loading="$PGDATA.loading"
rm -rf "$loading"
initdb --pgdata="$loading" --username=postgres --auth=peer --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8 --data-checksums --no-sync

# There is no data to lose yet, so the load runs without durability; the result is synchronised
# before the rename.
pg_ctl --pgdata="$loading" --wait --silent --log="$loading/load.log" --options="-c listen_addresses='' -c unix_socket_directories=/tmp \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off \
    -c max_wal_size=4GB -c checkpoint_timeout=1h -c shared_buffers=128MB -c maintenance_work_mem=128MB" start

psql --host=/tmp --username=postgres --no-psqlrc --quiet --output=/dev/null --dbname=postgres --file="$SQL/10-roles.sql"
set --
for file in "$SQL"/[2-9]*.sql; do
    set -- "$@" --file="$file"
done
psql --host=/tmp --username=postgres --no-psqlrc --quiet --output=/dev/null --dbname=directus --single-transaction "$@"

pg_ctl --pgdata="$loading" --wait --silent --mode=fast stop
rm "$loading/load.log"
initdb --pgdata="$loading" --sync-only
mv "$loading" "$PGDATA"
