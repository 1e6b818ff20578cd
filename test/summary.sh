#!/bin/sh
# usage: summary.sh BUILD-DIR...
# Adds up the cases of every suite that ran in the build directories, from the logs that make check
# leaves: cmocka's counts, a script's own "N passed, N failed" line, else one for the suite itself.
# Ends with the plain line "N passed, N failed"; exit status 1 if anything failed or nothing ran.
for dir; do
	find "$dir" -name '*.trs' | sort
done | while read -r trs; do
	log=${trs%.trs}.log
	result=$(sed -n 's/^:test-result: //p' "$trs" | head -n 1)
	awk -v result="$result" -v name="${trs%.trs}" '
		/^\[  PASSED  \] [0-9]+ test/ { pass += $4; counted = 1 }
		/^\[  FAILED  \] [0-9]+ test/ { fail += $4; counted = 1 }
		/^[0-9]+ passed, [0-9]+ failed/ { pass += $1; fail += $3; counted = 1 }
		END {
			if (result == "SKIP") { print 0, 0; exit }
			if (!counted) { if (result == "PASS") pass = 1; else fail = 1 }
			if (result != "PASS" && !fail) fail = 1
			print pass + 0, fail + 0
		}' "$log"
done | awk '{ pass += $1; fail += $2 } END { printf "%d passed, %d failed\n", pass, fail; exit (fail > 0 || pass == 0) }'
