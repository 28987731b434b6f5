# Shared by test/run, test/demo and their kin; to be sourced by bash.
#
# Finds or installs what is needed, builds and installs the extension from a
# copy of the tree, and runs a throw-away cluster, all below one temporary
# directory that goes away when the script ends.  The cluster listens on a
# Unix socket in that directory only.
#
# PG_CONFIG, if set, says which PostgreSQL to use; otherwise it is Debian's
# PostgreSQL 15 (or PG_VERSION), installed from packages if it is not there.
# COPT is for the compiler, when the extension is built and linked;
# CLUSTER_CONF are lines for postgresql.conf; POSTGRES is a program to start
# in place of postgres; PG_ORM_CACHE is a folder for what takes long to make,
# kept from one run to the next.
#
# After setup_all: $PG_CONFIG, $bindir, $work (the copy of the tree, writable
# for the cluster's user), PGHOST, PGPORT and PGUSER of the cluster; as_owner
# runs a command as the cluster's user.

set -euo pipefail
export LC_ALL=C.UTF-8

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
debian_version=${PG_VERSION:-15}
with=$(id -u)
if [ "$with" = 0 ]; then
	cache=${PG_ORM_CACHE:-/var/cache/pg_orm}
else
	cache=${PG_ORM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pg_orm}
fi

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
	if [ "$with" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# PostgreSQL does not run as root.
cluster_user=
if [ "$with" = 0 ]; then
	cluster_user=postgres
fi

as_owner() {
	if [ -n "$cluster_user" ]; then
		runuser -u "$cluster_user" -- "$@"
	else
		"$@"
	fi
}

# Prints the packages of Debian's PostgreSQL that are missing.  Its headers have
# to be of the server's own minor version, since structs may differ from one to
# the next; where they are not to be had, both are brought to the newest.
missing_postgresql() {
	local server=postgresql-$debian_version version=
	local headers=postgresql-server-dev-$debian_version
	local header=/usr/include/postgresql/$debian_version/server/pg_config.h
	local program=/usr/lib/postgresql/$debian_version/bin/postgres
	if [ -x "$program" ]; then
		version=$("$program" --version)
		if grep -qsF "\"PostgreSQL ${version#postgres (PostgreSQL) } on " "$header"; then
			return
		fi
		version=$(dpkg-query -W -f '${Version}' "$server")
		as_root apt-get -qq update >&2
	fi
	if [ -n "$version" ] && [ ! -e "$header" ] &&
		apt-cache show "$headers=$version" >/dev/null 2>&1; then
		echo "$headers=$version"
	else
		echo "$server $headers"
	fi
}

# Prints the Debian packages that are missing.  Argument "tests": those that
# only the tests need, too.
missing_packages() {
	[ -n "${PG_CONFIG_GIVEN:-}" ] || missing_postgresql
	command -v gcc >/dev/null || echo gcc
	[ -e /usr/include/stdio.h ] || echo libc6-dev
	command -v make >/dev/null || echo make
	if [ "${1:-}" = tests ]; then
		perl -MIPC::Run -MTest::More -e 1 2>/dev/null ||
			echo perl libipc-run-perl
		command -v prove >/dev/null || echo perl
		command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] ||
			echo pgbouncer
	fi
	printf '%s\n' "${extra_packages[@]:-}"
}

# Arguments: Debian packages.
install_packages() {
	command -v apt-get >/dev/null ||
		die "missing: $* (this is not Debian: install them, or set PG_CONFIG)"
	say "installing $*"
	as_root apt-get -qq update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
		--no-install-recommends install "$@" >"$tmp/apt.log" 2>&1 </dev/null ||
		{ cat "$tmp/apt.log" >&2; die "apt-get failed"; }
}

setup_packages() {
	local missing
	PG_CONFIG_GIVEN=${PG_CONFIG:-}
	missing=$(missing_packages "${1:-}" | xargs)
	if [ -n "$missing" ]; then
		# shellcheck disable=SC2086
		install_packages $missing
	fi
	PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$debian_version/bin/pg_config}
	export PG_CONFIG
	bindir=$("$PG_CONFIG" --bindir)
	export PATH=$bindir:$PATH
	if [ -n "$cluster_user" ] && ! id "$cluster_user" >/dev/null 2>&1; then
		cluster_user=nobody
	fi
}

# Builds from a copy, so that nothing stale is used and nothing is left behind.
# Argument: as of missing_packages; the tests allow no warnings.
setup_build() {
	work=$tmp/pg_orm
	mkdir "$work"
	(cd "$root" && tar -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' \
		--exclude='*.bc' --exclude='./pg_orm*--*.sql' --exclude=./results \
		--exclude=./tmp_check --exclude=./output_iso --exclude=node_modules .) |
		tar -xf - --no-same-owner -C "$work"
	say "building with $("$PG_CONFIG" --version)"
	make -s -C "$work" -j2 with_llvm=no COPT="${1:+-Werror} ${COPT:-}" \
		PG_CONFIG="$PG_CONFIG" all
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then
		make -s -C "$work" with_llvm=no PG_CONFIG="$PG_CONFIG" install >/dev/null
	else
		as_root make -s -C "$work" with_llvm=no PG_CONFIG="$PG_CONFIG" \
			install >/dev/null
	fi
}

setup_cluster() {
	say "starting a throw-away cluster in $tmp"
	if [ -n "$cluster_user" ]; then
		chown -R "$cluster_user" "$tmp"
	fi
	unset PGDATABASE PGSERVICE PGOPTIONS PGSSLMODE PGDATA PGPASSWORD PGHOSTADDR
	export PGHOST=$tmp/socket PGPORT=$((20000 + RANDOM)) PGUSER=postgres
	as_owner mkdir -m 700 "$PGHOST"
	as_owner "$bindir/initdb" -D "$tmp/data" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 --no-sync >"$tmp/initdb.log" 2>&1 ||
		{ cat "$tmp/initdb.log" >&2; die "initdb failed"; }
	as_owner tee -a "$tmp/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$PGHOST'
		port = $PGPORT
		fsync = off
		shared_buffers = 128MB
		max_prepared_transactions = 10
		timezone = 'UTC'
		${CLUSTER_CONF:-}
	CONF
	as_owner "$bindir/pg_ctl" -D "$tmp/data" -l "$tmp/server.log" -w -s \
		${POSTGRES:+-p "$POSTGRES"} start ||
		{ cat "$tmp/server.log" >&2; die "the cluster did not start"; }
}

cleanup() {
	trap - EXIT INT TERM HUP
	cd /
	if [ -e "$tmp/data/postmaster.pid" ]; then
		as_owner "$bindir/pg_ctl" -D "$tmp/data" -m immediate -s stop \
			>/dev/null 2>&1 || true
	fi
	rm -rf "$tmp"
}

setup_tmp() {
	tmp=$(mktemp -d /tmp/pg_orm.XXXXXX)
	chmod 755 "$tmp"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

setup_all() {
	[ -n "${tmp:-}" ] || setup_tmp
	setup_packages "${1:-}"
	setup_build "${1:-}"
	cd "$work"
	setup_cluster
}
