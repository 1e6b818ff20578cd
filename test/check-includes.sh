#!/bin/sh
# Enforces who may include whom (HACKING.md has the table): never upward, never sideways, private
# headers never across folders, third-party headers confined to the folders that own them.
cd "${LT_SRCDIR:-$(dirname "$0")/..}" || exit 2
bad=0
complain() { echo "$1"; bad=1; }

# Public headers of each folder: the only ones that other folders may include.
public='base/[a-z0-9-]*\.h|model/(checkpoint|config|tensor|tokenizer|template)\.h|engine/(engine|sampler)\.h|scheduler/sched\.h|api/[a-z0-9-]*\.h'

allowed_folders() {
	case $1 in
	base) echo base ;;
	model) echo 'base model' ;;
	engine) echo 'base model engine' ;;
	scheduler) echo 'base scheduler engine' ;;
	api) echo 'base api' ;;
	server) echo 'base model engine scheduler api server' ;;
	tools) echo 'base model engine tools' ;;
	esac
}

for folder in base model engine scheduler api server tools; do
	[ -d $folder ] || continue
	for file in $(find $folder -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort); do
		for inc in $(sed -n 's/^[[:space:]]*#[[:space:]]*include "\([^"]*\)".*/\1/p' "$file"); do
			case $inc in
			config.h | */*) ;;
			*.gen.h) continue ;;
			*) complain "$file: include \"$inc\" is not written from the root" ;;
			esac
			[ "$inc" = config.h ] && continue
			to=${inc%%/*}
			echo " $(allowed_folders $folder) " | grep -q " $to " ||
				complain "$file: $folder/ may not include $inc"
			if [ "$to" != "$folder" ]; then
				echo "$inc" | grep -Eqx "$public" || complain "$file: $inc is private to $to/"
				[ $folder = scheduler ] && [ "$to" = engine ] && [ "$inc" != engine/engine.h ] &&
					complain "$file: the scheduler may include engine/engine.h alone"
			fi
		done
		confined() { # header-regex, folder prefixes
			grep -Eq "^[[:space:]]*#[[:space:]]*include <($1)" "$file" || return 0
			for p in $2; do case $file in "$p"/*) return 0 ;; esac; done
			complain "$file: <$1> belongs to $2"
		}
		confined 'microhttpd' server
		confined 'uv\.h' server
		confined 'systemd/' server
		confined 'cjson/' 'api model'
		confined 'cblas' engine/blas
		confined 'cuda|cublas' engine/cuda
		confined 'pcre2' model
		confined 'sodium' 'base'
		confined 'numa' 'engine'
	done
done
[ $bad -eq 0 ] && echo "includes: as the table says"
exit $bad
