export type StreamState = 'connecting' | 'open' | 'paused' | 'lost';

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

/** Read server-sent events from `url`; away while the tab is hidden, back with growing waits after a break. Returns what closes it. */
export function events(url: string, onData: (data: string) => void, onState: (state: StreamState) => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let wait = FIRST_WAIT_MS;

  function leave(state: StreamState): void {
    clearTimeout(timer);
    source?.close();
    source = null;
    onState(state);
  }

  function connect(): void {
    leave('connecting');
    source = new EventSource(url);
    source.onmessage = (event) => onData(event.data as string);
    source.onopen = () => {
      wait = FIRST_WAIT_MS;
      onState('open');
    };
    source.onerror = () => {
      leave('lost');
      timer = window.setTimeout(connect, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    };
  }

  const seen = (): void => (document.hidden ? leave('paused') : connect());
  document.addEventListener('visibilitychange', seen);
  seen();
  return () => {
    document.removeEventListener('visibilitychange', seen);
    clearTimeout(timer);
    source?.close();
  };
}
