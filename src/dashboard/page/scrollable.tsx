import type { ComponentChildren } from 'preact';

/** By keyboard something is scrolled only where it can be focused. Source: axe-core, rule scrollable-region-focusable. */
const FOCUSABLE = { tabIndex: 0 } as const;

/** What may be wider, or longer, than its place. */
export function Scrollable({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <section class="scroll" aria-label={label} {...FOCUSABLE}>
      {children}
    </section>
  );
}
