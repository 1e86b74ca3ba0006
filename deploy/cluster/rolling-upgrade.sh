#!/usr/bin/env bash
# Upgrades or restarts the nodes of a cluster, one after the other. docs/cluster.md describes it.
set -euo pipefail

usage() {
	cat <<'END'
Usage: rolling-upgrade.sh [flags] NODE=ADDRESS NODE=ADDRESS... -- COMMAND [ARG...]

For each node: waits until all nodes are ready and the copies of all streams are up to date, drains the
node, runs COMMAND ARG... NODE, which must restart it, and waits again. It stops at the first failure.
ADDRESS is that of ranchctl --connect, as an operator; the other nodes are commanded through it.

  --spread TIME    period over which clients are asked to connect elsewhere (default 30s)
  --delay TIME     how long a node still accepts connections before that, while it is not ready (default 0s)
  --timeout TIME   after that, remaining connections are closed (default 30s)
  --wait TIME      how long to wait for nodes and copies (default 5m)
  --from NODE      begin with that node

Environment: RANCHCTL is the program (default ranchctl), RANCHCTL_TOKEN the token of an operator.
END
}

# fail MESSAGE ADVICE ends the script.
fail() {
	printf 'rolling-upgrade: %s\n%s\n' "$1" "$2" >&2
	exit 1
}

bad_usage() {
	printf 'rolling-upgrade: %s\n' "$1" >&2
	usage >&2
	exit 2
}

ranchctl=${RANCHCTL:-ranchctl}
spread=30s delay=0s timeout=30s wait=5m from=
names=() addresses=()

while (($# > 0)); do
	case $1 in
	--spread | --delay | --timeout | --wait | --from)
		(($# > 1)) || bad_usage "$1 needs a value"
		declare "${1#--}=$2"
		shift 2
		;;
	-h | --help)
		usage
		exit 0
		;;
	--)
		shift
		break
		;;
	-*) bad_usage "unknown flag $1" ;;
	*=?*)
		names+=("${1%%=*}")
		addresses+=("${1#*=}")
		shift
		;;
	*) bad_usage "$1: allowed is NODE=ADDRESS" ;;
	esac
done
((${#names[@]} >= 2)) || bad_usage "at least two nodes are needed, so that one serves while the other restarts"
(($# > 0)) || bad_usage "the command that restarts a node is missing after --"

first=0
if [[ -n $from ]]; then
	while ((first < ${#names[@]})) && [[ ${names[first]} != "$from" ]]; do first=$((first + 1)); done
	((first < ${#names[@]})) || bad_usage "--from $from: no such node"
fi

for ((i = first; i < ${#names[@]}; i++)); do
	name=${names[i]}
	other=${addresses[(i + 1) % ${#names[@]}]} # through which the node is commanded
	resume="Then run the script again with --from $name."

	echo "== $name: waiting until all nodes are ready"
	"$ranchctl" --connect "$other" nodes --wait "$wait" "${names[@]}" ||
		fail "not all nodes are ready; $name was not touched" \
			"Repair the node that is named above. $resume"

	echo "== $name: draining"
	"$ranchctl" --connect "$other" drain all --node "$name" --spread "$spread" --delay "$delay" --timeout "$timeout" ||
		fail "draining $name failed; it was not restarted, and may accept no more connections" \
			"Look at it with: $ranchctl --connect $other nodes. A restart makes it accept again. $resume"

	echo "== $name: $* $name"
	"$@" "$name" </dev/null ||
		fail "the command failed for $name, which is drained and may not run" \
			"Start $name, and wait until it is ready: $ranchctl --connect $other nodes --wait $wait. $resume"

	echo "== $name: waiting until it is ready and the copies of streams are up to date"
	"$ranchctl" --connect "$other" nodes --wait "$wait" "${names[@]}" ||
		fail "the cluster is not ready after the restart of $name" \
			"The other nodes serve its clients. Look at the log of $name; repair it or install the previous version. $resume"
done
echo "== all nodes are upgraded"
