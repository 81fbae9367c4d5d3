import fc from './fast-check.js';

/**
 * Random sequences that are as long as they may be: by itself fast-check makes arrays of about ten items, whatever their
 * greatest length, and a model that plays ten steps hardly gets anywhere.
 * Source: https://fast-check.dev/docs/configuration/larger-entries-by-default/
 */
export function sequenceOf<T>(
  step: fc.Arbitrary<T>,
  lengths: { readonly minLength?: number; readonly maxLength: number },
): fc.Arbitrary<T[]> {
  return fc.array(step, { ...lengths, size: 'max' });
}
