/** How many colours tell generations apart; those that live at a time follow each other. */
const COLOURS = 6;

/** The class of a generation's colour. */
export function colourClass(generation: number): string {
  return `colour-${generation % COLOURS}`;
}

/** The colour itself, as the style sheet has it at this moment. */
export function colourOf(generation: number): string {
  return property(`--colour-${generation % COLOURS}`);
}

/** A colour of the style sheet at this moment. */
export function property(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
