import type { ServiceManagerLink } from '../../service-manager/service-manager.js';
import type { Teller } from '../serving/teller.js';
import type { Slots } from './slots.js';

/** How many of the slots serve, in one line. */
export function slotsServing({ staying }: Slots): string {
  const serving = staying.filter(({ serves }) => serves);
  const numbers = serving.map(({ generations }) => generations.current?.number).join(', ');
  return `${serving.length} of ${staying.length} slots serve (generations ${numbers || 'none'})`;
}

/** Tells the service manager what one of several slots has to tell: a service is well when one of its slots is. */
export function slotTeller(index: number, slots: Slots, manager: ServiceManagerLink): Teller {
  const answers = async () => {
    const all = await Promise.all(slots.staying.map(({ servingState }) => servingState.answers()));
    return all.includes(true);
  };
  return {
    get isReady() {
      return manager.isReady;
    },
    accepting: () => manager.accepting(answers),
    serving: () => manager.serving(slotsServing(slots), answers),
    tell: (what) => manager.tell(`slot ${index}: ${what}`),
  };
}
