import { Argument, Command } from 'commander';
import { print } from '../../terminal/print.js';
import type { Commands } from '../command-table.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** The command `moult completion`: a script by which a shell completes commands, options and names of services. */
export function completionCommand(commands: () => Commands, hidden: string): Command {
  return new Command('completion')
    .description('print a script for your shell that completes commands, options and names of services')
    .addArgument(new Argument('<shell>', 'which shell').choices([...SHELLS]))
    .action(async (shell: (typeof SHELLS)[number]) => {
      const all = await Promise.all(
        Object.entries(commands())
          .filter(([name]) => name !== hidden)
          .map(async ([name, load]) => ({ name, command: await load() })),
      );
      const known = all.map(({ name, command }) => ({
        name,
        text: command.description(),
        options: command.options
          .filter((option) => !option.hidden)
          .map(({ long, description }) => ({ long: long ?? '', text: description })),
        takesName: command.registeredArguments.some((one) => /^names?$/.test(one.name())),
      }));
      print(WRITERS[shell](known).trimEnd());
    });
}

interface Known {
  readonly name: string;
  readonly text: string;
  readonly options: readonly { readonly long: string; readonly text: string }[];
  readonly takesName: boolean;
}

/** The names of services that run, by their run folders: no process is started for it. */
const names = `if [ -n "$XDG_RUNTIME_DIR" ]; then ls "$XDG_RUNTIME_DIR/moult"; else ls "\${TMPDIR:-/tmp}/moult-$(id -u)"; fi 2>/dev/null`;

const WRITERS: Readonly<Record<(typeof SHELLS)[number], (known: readonly Known[]) => string>> = {
  bash: (known) => `# source <(moult completion bash)
_moult() {
  local current="\${COMP_WORDS[COMP_CWORD]}" command="\${COMP_WORDS[1]}" words="" named=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${known.map(({ name }) => name).join(' ')}" -- "$current"))
    return
  fi
  case "$command" in
${known.map((one) => `    ${one.name}) words="${one.options.map(({ long }) => long).join(' ')}"${one.takesName ? ' named=1' : ''} ;;`).join('\n')}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *)
      if [ -n "$named" ]; then COMPREPLY=($(compgen -W "$(${names})" -- "$current"))
      else COMPREPLY=($(compgen -f -- "$current")); fi ;;
  esac
}
complete -F _moult moult
`,
  zsh: (known) => `#compdef moult
# moult completion zsh > "\${fpath[1]}/_moult"
_moult() {
  local -a commands options
  commands=(
${known.map(({ name, text }) => `    ${single(`${name}:${text}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "$words[2]" in
${known
  .map(
    (one) =>
      `    ${one.name}) options=(${one.options.map(({ long, text }) => single(`${long}:${text.replaceAll(':', ' ')}`)).join(' ')})${one.takesName ? `; compadd -- \${(f)"$(${names})"}` : '; _files'} ;;`,
  )
  .join('\n')}
  esac
  [[ "$words[CURRENT]" == -* ]] && _describe option options
}
compdef _moult moult
`,
  fish: (known) => `# moult completion fish > ~/.config/fish/completions/moult.fish
function __moult_services
  if set -q XDG_RUNTIME_DIR; ls $XDG_RUNTIME_DIR/moult 2>/dev/null; else; ls /tmp/moult-(id -u) 2>/dev/null; end
end
${known
  .flatMap(({ name, text, options, takesName }) => [
    `complete -c moult -n __fish_use_subcommand -f -a ${name} -d ${single(text)}`,
    ...options.map(
      (one) =>
        `complete -c moult -n ${single(`__fish_seen_subcommand_from ${name}`)} -l ${one.long.replace(/^--/, '')} -d ${single(one.text)}`,
    ),
    ...(takesName
      ? [`complete -c moult -n ${single(`__fish_seen_subcommand_from ${name}`)} -f -a '(__moult_services)'`]
      : []),
  ])
  .join('\n')}
`,
};

function single(text: string): string {
  return `'${text.replaceAll("'", '’')}'`;
}
