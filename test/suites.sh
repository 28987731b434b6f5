# The suites of tests, for test/run and the tools of test/trust; to be sourced
# by bash after setup.sh.
#
# REGRESS, ISOLATION and TAP, which make passes, are the lists of tests; an
# empty one leaves that suite out.  SUITE_TIMEOUT is the time for each suite in
# seconds.  $passed and $failed count what was run so far.

passed=0 failed=0

# Adds up the results in a log of pg_regress (its own format before 16, TAP
# since) or of prove -v.  A suite that fails without naming a test is one
# failure.  Arguments: log, exit status.
count() {
	local good bad
	good=$(grep -cE '^(test .*\.\.\. ok|ok [0-9]+)' "$1" || true)
	bad=$(grep -cE '^(test .*\.\.\. (FAILED|failed)|not ok [0-9]+)' "$1" || true)
	if [ "$2" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
	fi
	passed=$((passed + good)) failed=$((failed + bad))
}

# Arguments: name, command.  Leaves the output in $tmp/NAME.log, too.
suite() {
	local name=$1 status=0
	shift
	say "$name"
	"$@" 2>&1 </dev/null | tee "$tmp/$name.log" || status=$?
	count "$tmp/$name.log" "$status"
	return "$status"
}

# pg_regress and its kin run in the copy of the tree, as the cluster's user.
regress() {
	as_owner timeout "${SUITE_TIMEOUT:-1200}" "$1" --bindir="$bindir" --inputdir="$2" \
		--outputdir="$tmp/$3" --encoding=UTF8 --dbname="$4" "${@:5}"
}

tap() {
	as_owner env TESTDIR="$work" PG_REGRESS="$pgxs/src/test/regress/pg_regress" \
		timeout "${SUITE_TIMEOUT:-1200}" prove -v --timer -I "$pgxs/src/test/perl" -I "$work/test/t" \
		"$@"
}

# Adds up what a script has printed: its last line "N passed, N failed", or
# else its TAP; one that fails without saying so is one failure.  Sets $good
# and $bad to its own.  Arguments: log, exit status.
add_up() {
	read -r good bad < <(awk '/^[0-9]+ passed, [0-9]+ failed$/ { last = $1 " " $3 }
		/^ok [0-9-]/ { good++ }
		/^not ok [0-9-]/ { bad++ }
		END { print last ? last : good + 0 " " bad + 0 }' "$1")
	if [ "$2" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
	fi
	passed=$((passed + good)) failed=$((failed + bad))
}

# Runs the suites on the cluster of setup_all.
run_suites() {
	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	as_owner mkdir -p "$tmp/regress" "$tmp/isolation"
	if [ -n "${REGRESS:-}" ]; then
		# shellcheck disable=SC2086
		suite regress regress "$pgxs/src/test/regress/pg_regress" . regress \
			contrib_regression $REGRESS ||
			cat "$tmp/regress/regression.diffs" || true
	fi
	if [ -n "${ISOLATION:-}" ]; then
		# shellcheck disable=SC2086
		suite isolation regress "$pgxs/src/test/isolation/pg_isolation_regress" \
			test isolation isolation_regression $ISOLATION ||
			cat "$tmp/isolation/regression.diffs" || true
	fi
	if [ -n "${TAP:-}" ]; then
		# shellcheck disable=SC2086
		suite tap tap $TAP || tail -n 50 "$work"/tmp_check/log/* || true
	fi
	if grep -E 'PANIC|TRAP:|terminated by signal|server process .* exited' \
		"$tmp/server.log"; then
		echo "the server crashed"
		failed=$((failed + 1))
	fi
}

# The last line of a script, and its exit status.
finish() {
	cleanup
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
