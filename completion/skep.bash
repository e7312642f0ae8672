# SPDX-License-Identifier: Apache-2.0
# Completion of the skep command for bash.

_skep()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} cmd=${COMP_WORDS[1]}
	local words= files=
	local common="--prog --runtime --cc --help"

	local tools="execsnoop opensnoop statsnoop exitsnoop sigsnoop syscount funccount funclatency funcslower gethostlatency bashreadline fileslower"

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "run check trace dump exec serve version help $tools --help --version" -- "$cur"))
		return
	fi
	case $prev in
	--runtime)
		COMPREPLY=($(compgen -W "user kernel" -- "$cur"))
		return
		;;
	--cc)
		COMPREPLY=($(compgen -c -- "$cur" | grep -E '^(clang(-[0-9]+)?|bpf-gcc)$'))
		return
		;;
	-i | --iface | -b | --bridge)
		COMPREPLY=($(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$cur"))
		return
		;;
	-c | --capture)
		files='*.@(pcap|pcapng|cap)'
		;;
	-w | --write | --btf)
		COMPREPLY=($(compgen -f -- "$cur"))
		compopt -o filenames 2>/dev/null
		return
		;;
	--join)
		COMPREPLY=($(compgen -W "$(skep serve --list 2>/dev/null | awk 'NR > 1 {print $1}')" -- "$cur"))
		return
		;;
	--name) return ;;
	-p | --prog | -m | --map | -S | --set | -e | --event | --hist | -n | --repeat | -t | --for)
		return
		;;
	esac
	if [ "$cmd" = exec ]; then
		case $cur in
		-*) COMPREPLY=($(compgen -W "--name --join --interpret --unprivileged --no-preload --no-view --port --stats --help" -- "$cur")) ;;
		*) COMPREPLY=($(compgen -c -- "$cur") $(compgen -f -- "$cur")) ;;
		esac
		return
	fi
	if [ -z "$files" ]; then
		case $cmd in
		run) words="--capture --write --repeat --iface --bridge --for --map --json $common" ;;
		check) words="--json --log --repeat --btf $common" ;;
		dump) words="--bytecode --jit --maps --btf $common" ;;
		serve) words="--list --json --interpret --unprivileged --no-view --port --help" ;;
		trace) words="--event --count --latency --by-pid --hist --stack --pid --for --map --set --json --runtime --cc --help" ;;
		help) words="run check trace dump exec serve version" ;;
		*) return ;;
		esac
		if [ "$cmd" = help ] || [[ $cur == -* ]]; then
			COMPREPLY=($(compgen -W "$words" -- "$cur"))
			return
		fi
		files='*.@(c|o)'
	fi
	local glob=$(shopt -p extglob)
	shopt -s extglob
	COMPREPLY=($(compgen -f -X "!$files" -- "$cur") $(compgen -d -- "$cur"))
	$glob
	compopt -o filenames 2>/dev/null
}
complete -F _skep skep
