# The second part of test/trust/upgrade, within the newer release: a cluster of
# the older PostgreSQL, in /tmp/pg_orm.old, becomes one of the newer.
source "$(dirname "$0")/../setup.sh"

setup_tmp
setup_packages tests
setup_build tests
old=/tmp/pg_orm.old$(cat /tmp/pg_orm.old/bindir)
chown -R postgres "$tmp"
number=0 bad=0

sql() { as_owner "$bindir/psql" -h "$tmp" -p 5999 -U postgres -XqAt -v ON_ERROR_STOP=1 "$@"; }

check() {
	number=$((number + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		diff <(echo "$3") <(echo "$2") | head -n 40 | sed 's/^/#   /' || true
		bad=$((bad + 1))
	fi
}

start() {
	as_owner "$1/pg_ctl" -D "$2" -l "$tmp/log" -w -s \
		-o "-c listen_addresses= -c unix_socket_directories=$tmp -c port=5999" start >/dev/null ||
		{ cat "$tmp/log"; die "the server does not start"; }
}

initialize() {
	as_owner "$1/initdb" -D "$2" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -k \
		--no-sync >/dev/null
}

initialize "$old" "$tmp/old"
start "$old" "$tmp/old"
sql -c 'CREATE DATABASE models' postgres
sql -c 'CREATE EXTENSION pg_orm; CREATE EXTENSION pg_orm_tutorial' models
sql -f "$work/test/trust/upgrade.sql" models >/dev/null
before=$(sql -f "$work/test/trust/upgrade_check.sql" models)
as_owner "$old/pg_ctl" -D "$tmp/old" -w -s stop

initialize "$bindir" "$tmp/new"
status=0
(cd "$tmp" && as_owner "$bindir/pg_upgrade" -b "$old" -B "$bindir" -d "$tmp/old" \
	-D "$tmp/new" -U postgres -s "$tmp" -p 5998 -P 5999) >"$tmp/pg_upgrade.log" 2>&1 || status=$?
[ "$status" = 0 ] || { tail -n 30 "$tmp/pg_upgrade.log"; tail -n 12 "$tmp"/new/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log; }
check "pg_upgrade from $("$old/postgres" --version) to $("$bindir/postgres" --version)" "$status" 0
start "$bindir" "$tmp/new"
sql -c 'SELECT orm.repair()' models >/dev/null
check "models, functions and rows are what they were" \
	"$(sql -f "$work/test/trust/upgrade_check.sql" models)" "$before"
check "models can be used, changed and dropped" "$(sql -c "
	SET search_path = shop, public;
	SELECT name FROM orm.add(NULL::item, '{\"name\": \"new\", \"parts\": [{\"label\": \"x\"}]}');
	UPDATE item_doc SET data = jsonb_set(data, '{name}', '\"changed\"') WHERE id = 1;
	SELECT name FROM item WHERE id = 1;
	DROP VIEW item_doc;
	DROP TABLE part;
	SELECT class FROM orm.models WHERE class = 'Part';
	DROP EXTENSION pg_orm CASCADE" models 2>/dev/null)" $'new\nchanged'
as_owner "$bindir/pg_ctl" -D "$tmp/new" -m fast -w -s stop
cleanup
echo "$((number - bad)) passed, $bad failed"
[ "$bad" = 0 ]
