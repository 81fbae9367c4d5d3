// An HTTP server with nothing but Rust's standard library, on the socket that it was started with (LISTEN_FDS), else on
// argument 1. SIGTERM: no more is accepted, each connection ends with its next answer or after half a second of silence.
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::io::FromRawFd;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

static STOPPING: AtomicBool = AtomicBool::new(false);
static OPEN: AtomicUsize = AtomicUsize::new(0);

extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

extern "C" fn stop(_: i32) {
    STOPPING.store(true, Ordering::SeqCst);
}

fn listener() -> TcpListener {
    if env::var("LISTEN_PID").ok() == Some(process::id().to_string()) {
        return unsafe { TcpListener::from_raw_fd(3) };
    }
    TcpListener::bind(env::args().nth(1).expect("an address")).expect("to bind it")
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        // One request: lines up to an empty one.
        let mut head = String::new();
        loop {
            match reader.read_line(&mut head) {
                Ok(0) => return Ok(()),
                Ok(_) if head.ends_with("\r\n\r\n") => break,
                Ok(_) => {}
                // Idle. A request that has begun is waited for.
                Err(_) if STOPPING.load(Ordering::SeqCst) && head.is_empty() => return Ok(()),
                Err(_) => {}
            }
        }
        let stopping = STOPPING.load(Ordering::SeqCst) || head.to_lowercase().contains("connection: close");
        let body = format!("{}\n", process::id());
        let how = if stopping { "close" } else { "keep-alive" };
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n{}", body.len(), how, body)?;
        if stopping {
            return Ok(());
        }
    }
}

fn main() {
    unsafe { signal(15, stop) };
    let listener = listener();
    // Another generation may have taken what was there to accept.
    listener.set_nonblocking(true).expect("a listener that does not block");
    while !STOPPING.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                OPEN.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = serve(stream);
                    OPEN.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
    drop(listener);
    while OPEN.load(Ordering::SeqCst) > 0 {
        thread::sleep(Duration::from_millis(10));
    }
}
