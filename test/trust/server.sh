# Builds a PostgreSQL of one's own from Debian's source package, for the tools
# of this folder; to be sourced by bash after test/setup.sh.
#
# The source package, the folder it is built in and what is installed are
# below $cache, and kept for the next run; a newer source package, or other
# options, build it anew.  Each run has a copy of its own in $tmp, where the
# extension goes.

server_packages=(dpkg-dev bison flex gcc libc6-dev make perl libipc-run-perl
	zlib1g-dev)

# Installs those of the given Debian packages that are missing.
need() {
	local package missing=()
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] ||
			missing+=("$package")
	done
	[ "${#missing[@]}" = 0 ] || install_packages "${missing[@]}"
}

# apt with package lists of its own: source packages from where the system's
# packages are.  Arguments: apt-get or apt-cache, and its own.
source_apt() {
	"$1" -qq -o Dir::Etc::SourceList="$cache/source/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$cache/source/lists" \
		-o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache= \
		-o APT::Sandbox::User=root "${@:2}"
}

# Fetches and unpacks a version of a source package.
unpack() {
	local folder=$cache/source/$1-$2
	[ ! -e "$folder/complete" ] || return 0
	say "fetching the source package $1 $2"
	rm -rf "$folder"
	mkdir "$folder"
	(cd "$folder" && source_apt apt-get --download-only source "$1=$2" &&
		dpkg-source -x ./*.dsc tree && touch complete) \
		>"$cache/source.log" 2>&1 </dev/null
}

# Sets $source_tree to the newest source that there is; a mirror may have the
# packages of a security release and not their source.
fetch_source() {
	local package=postgresql-$debian_version version
	mkdir -p "$cache/source/lists/partial"
	# shellcheck disable=SC2016
	apt-get indextargets --format \
		'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) main' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' \
		>"$cache/source/sources.list"
	[ -s "$cache/source/sources.list" ] ||
		die "apt names no mirror: run apt-get update"
	source_apt apt-get update || die "apt-get could not read the lists of source packages"
	for version in $(source_apt apt-cache showsrc "$package" |
		sed -n 's/^Version: //p' | sort -Vru); do
		if unpack "$package" "$version"; then
			source_tree=$cache/source/$package-$version/tree
			return
		fi
		say "there is no source of $package $version"
	done
	cat "$cache/source.log" >&2
	die "apt-get source $package failed"
}

# Builds PostgreSQL and sets PG_CONFIG to a copy.  Arguments: name, CFLAGS,
# CPPFLAGS, options of configure.
build_server() {
	local name=$1 cflags=$2 cppflags=$3 prefix=$cache/postgresql-$1 asked
	shift 3
	need "${server_packages[@]}"
	mkdir -p "$cache"
	exec {server_lock}>"$cache/server.lock"
	flock "$server_lock"
	fetch_source
	asked="$source_tree $cflags $cppflags $*"
	if [ "$(cat "$prefix/complete" 2>/dev/null)" != "$asked" ]; then
		say "building PostgreSQL with $cflags $cppflags $*"
		rm -rf "$prefix" "$cache/build-$name"
		mkdir "$cache/build-$name"
		# a make of its own: PostgreSQL's makes its headers at the top level only
		(unset MAKELEVEL MAKEFLAGS MFLAGS
			cd "$cache/build-$name" &&
			nice "$source_tree/configure" --prefix="$prefix" --enable-debug \
				--enable-tap-tests --without-readline \
				CFLAGS="$cflags" CPPFLAGS="$cppflags" "$@" &&
			nice make -s -j2 &&
			make -s install &&
			nice make -s -j2 -C contrib &&
			make -s -C contrib install &&
			make -s -C src/test/isolation install) >"$cache/build-$name.log" 2>&1 ||
			{ tail -n 40 "$cache/build-$name.log" >&2; die "the build failed"; }
		echo "$asked" >"$prefix/complete"
	fi
	exec {server_lock}>&-
	cp -a "$prefix" "$tmp/server"
	export PG_CONFIG=$tmp/server/bin/pg_config
}

# A server that checks itself, and tells valgrind what is allocated.  The
# warnings of -Og, which sees less of the code than -O2, are no errors.
build_assertions() {
	need valgrind
	build_server assertions '-Og -g -fno-omit-frame-pointer' -DUSE_VALGRIND \
		--enable-cassert
	COPT=-Wno-error
}
