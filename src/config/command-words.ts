/**
 * The words of a command that stands in one text: parted by spaces, what is within quotation marks kept together.
 * @returns undefined where a quotation mark is not closed.
 */
export function commandWords(text: string): string[] | undefined {
  const rest = text.replace(/(?:[^\s"']|"[^"]*"|'[^']*')+/g, '').trim();
  if (rest !== '') return undefined;
  const words = text.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}
