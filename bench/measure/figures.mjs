/**
 * A figure that was measured several times.
 * @typedef {{ n: number, median: number, low: number, high: number, min: number, max: number }} Figure
 *   `low` and `high` are the quartiles.
 */

/**
 * Sums several measurements up.
 * @param {readonly number[]} values
 * @returns {Figure}
 */
export function figure(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    n: sorted.length,
    median: quantile(sorted, 0.5),
    low: quantile(sorted, 0.25),
    high: quantile(sorted, 0.75),
    min: quantile(sorted, 0),
    max: quantile(sorted, 1),
  };
}

/** @param {readonly number[]} sorted @param {number} share from 0 to 1 */
function quantile(sorted, share) {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/**
 * A figure as three cells of a table: median, quartiles, extremes.
 * @param {Figure} one
 * @param {(value: number) => string} show
 */
export function cells(one, show) {
  return [show(one.median), `${show(one.low)} – ${show(one.high)}`, `${show(one.min)} – ${show(one.max)}`];
}

/** @param {number} value */
export const ratio = (value) => value.toFixed(3);
/** @param {number} value */
export const percent = (value) => `${(value * 100).toFixed(0)} %`;
/** @param {number} value */
export const whole = (value) => Math.round(value).toLocaleString('en-US');
/** @param {number} value */
export const ms = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));
