export type Lang = 'ar' | 'en';
export type Theme = 'system' | 'light' | 'dark';
export type Digits = 'latn' | 'arab';
export type Density = 'comfortable' | 'compact';

interface Stored {
  lang?: Lang;
  theme?: Theme;
  digits?: Digits;
  density?: Density;
  nav?: 'open' | 'closed';
}

const KEY = 'noufal';

function read(): Stored {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Stored;
  } catch {
    return {};
  }
}

const stored = read();
const root = document.documentElement;

/** What this browser remembers of the person's taste; every change reaches `<html>` at once. */
class Prefs {
  lang = $state<Lang>(stored.lang ?? (root.lang === 'en' ? 'en' : 'ar'));
  theme = $state<Theme>(stored.theme ?? 'system');
  digits = $state<Digits>(stored.digits ?? 'latn');
  density = $state<Density>(stored.density ?? 'comfortable');
  nav = $state<'open' | 'closed'>(stored.nav ?? 'open');
  chosen = $state(stored.lang !== undefined);

  get dir(): 'rtl' | 'ltr' {
    return this.lang === 'ar' ? 'rtl' : 'ltr';
  }

  set(change: Stored): void {
    Object.assign(this, change);
    if (change.lang) this.chosen = true;
    this.apply();
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...read(), ...change }));
    } catch {
      return; // storage is full or forbidden: the choice lasts as long as the page
    }
  }

  apply(): void {
    root.lang = this.lang;
    root.dir = this.dir;
    root.dataset.density = this.density;
    if (this.theme === 'system') delete root.dataset.theme;
    else root.dataset.theme = this.theme;
  }
}

export const prefs = new Prefs();
prefs.apply();
