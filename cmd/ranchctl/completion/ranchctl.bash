# bash completion for ranchctl: source <(ranchctl completion bash)
_ranchctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	COMPREPLY=()
	case $prev in
	--ca | --cert | --key | --token-file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	-o | --output) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$cur"); return ;;
	completion) mapfile -t COMPREPLY < <(compgen -W "bash zsh fish" -- "$cur"); return ;;
	esac
	case $cur in
	-*) mapfile -t COMPREPLY < <(compgen -W "--connect --connect-timeout --token-file --ca --cert --key --server-name --insecure-skip-verify --output --timeout --keep-going --version --help" -- "$cur") ;;
	*) mapfile -t COMPREPLY < <(compgen -W "help status connections stats completion" -- "$cur") ;;
	esac
}
complete -F _ranchctl ranchctl
