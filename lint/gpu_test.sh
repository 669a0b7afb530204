#!/usr/bin/env bash
# Bundles what must be run on a GPU machine into build/gpu-test: programs, their libraries, goldens, length lists, run.sh. Carry the folder
# to a machine with an NVIDIA driver and cuBLAS 12 or 13 (nothing else is needed) and start ./run.sh there; it prints one table.
# Algorithms chosen there lie in cache/radish afterwards; put them into ~/.cache/radish here, and the next bundle carries them along.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
out=build/gpu-test
tests="gpu_check backend_test_devices cuda_test_golden cuda_test_engine cuda_test_fault"
cmake --preset release -DRADISH_CUDA=1 -B $build >/dev/null
ninja -C $build radish $tests
rm -rf $out
mkdir -p $out/lib $out/tests/data $out/tests/engine $out/tests/cuda $out/cache/radish $out/llama3-8b
cp $build/radish $out/
for t in $tests; do cp $build/bin/$t $out/; done
strip $out/radish $(printf "$out/%s " $tests)
for program in $build/radish $build/bin/cuda_test_golden; do
    ldd $program | awk '/=> \// { print $3 }' | grep -vE '/(libc|libm|ld-linux.*)\.so' || true
done | sort -u | xargs -I{} cp -L {} $out/lib/
cp -r tests/data/golden $out/tests/data/
cp -r tests/engine/data $out/tests/engine/
cp -r tests/cuda/data $out/tests/cuda/
cp bench/*.tsv $out/
cp "${XDG_CACHE_HOME:-$HOME/.cache}"/radish/gemm-*.bin $out/cache/radish/ 2>/dev/null || true
cat >$out/llama3-8b/config.json <<'CONFIG'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
 "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "max_position_embeddings": 8192,
 "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": false, "torch_dtype": "bfloat16",
 "bos_token_id": 128000, "eos_token_id": 128001, "attention_bias": false, "mlp_bias": false}
CONFIG
cat >$out/run.sh <<RUN
#!/usr/bin/env bash
# What is to be run, with the minutes it takes; no word: check device start.
#   check    every op, the engine, every golden, a fault             (2)
#   device   what this GPU sustains                                  (1)
#   bench    kernels and steps                                       (3)
#   start    first start (then chooses algorithms), second start     (1)
#   latency  decode 1..1024 and prefill 128..8192, with a profile    (2)
#   lists    D1-D5                                                   (7)
#   online   1-16 requests a second through HTTP, RUN_S seconds each (RUN_S 60: 7)
#   smol     SmolLM2-135M, if ../smol/*.part* or the file is there   (1)
cd "\$(dirname "\$0")"
export LD_LIBRARY_PATH=\$PWD/lib:\${LD_LIBRARY_PATH:-} XDG_CACHE_HOME=\$PWD/cache
tests=$PWD/tests # where the tests were compiled to look
[ -e "\$tests" ] || { mkdir -p "\$(dirname "\$tests")" && ln -s "\$PWD/tests" "\$tests"; }
RUN
cat >>$out/run.sh <<'RUN'
bad=0 table=
model="-m llama3-8b --load-format dummy --device cuda --skip-tokenizer-init --max-running-requests 1024 --disable-radix-cache"
note() { table+="$1"$'\n'; }
passes() { # name command: its last lines if it fails
    local name=$1 log
    shift
    log=$(timeout 300 "$@" 2>&1)
    case $? in
    0) note "ok      $name" ;;
    77) note "skipped $name" ;;
    *) note "FAILED  $name"; bad=1; tail -20 <<<"$log" ;;
    esac
}
check() {
    passes "kernels against loops" ./gpu_check check
    passes "ops against the CPU's definition" ./backend_test_devices
    passes "goldens of every family" ./cuda_test_golden
    passes "engine: batches, long prompt, memory" ./cuda_test_engine
    passes "a device fault" ./cuda_test_fault
}
device() { ./radish bench device --device cuda --json device.json; }
bench() { ./gpu_check bench; }
serve() { # waits until it serves; what it says goes to serve.log
    began=$(date +%s%N)
    ./radish serve --port 31234 "$@" >serve.log 2>&1 &
    server=$!
    until grep -q "fired up" serve.log; do
        kill -0 $server 2>/dev/null || { cat serve.log; bad=1; return 1; }
        sleep 0.02
    done
    ready=$((($(date +%s%N) - began) / 1000000))
}
chosen() { # waits until a server that nobody asks has chosen its algorithms
    grep -q "no algorithms" serve.log || return
    until grep -q "are chosen now" serve.log; do
        kill -0 $server 2>/dev/null || return
        sleep 0.1
    done
    note "algorithms chosen $((($(date +%s%N) - began) / 1000000 - ready)) ms after ready"
}
stop() { kill $server; wait $server; }
start() {
    for n in first second; do
        serve $model || return
        note "start to ready, $n: $ready ms"
        [ $n = first ] && chosen
        stop
    done
}
latency() {
    ./radish bench latency $model --batch 1,2,4,8,16,32,64,128,256,512,1024 --output-len 256 --runs 1 \
        --prefill 128,512,2048,4096,8000 --profile --json latency.json
}
lists() {
    for d in D1 D2 D3 D4 D5; do
        note "$d $(./radish bench offline $model --lengths $d.tsv --profile --json $d.json | tee $d.log | grep '^output')"
        tail -9 $d.log
    done
}
online() {
    serve $model || return
    for rate in 1 2 4 8 16; do
        ./radish bench online --url http://127.0.0.1:31234 --lengths online.tsv --rate $rate --num $((rate * ${RUN_S:-60})) \
            --json online-$rate.json | tee online.log
        note "online $rate/s: $(grep 'between tokens' online.log)"
    done
    stop
}
smol() {
    local file=SmolLM2-135M-Instruct.Q4_1.gguf
    [ -e $file ] || cat ../smol/*.part* >$file 2>/dev/null || { note "skipped SmolLM2: no file"; return; }
    local answer
    answer=$(./radish run -m $file --device cuda --temperature 0 -n 12 --raw -p "The capital of France is")
    case $answer in *Paris*) note "ok      SmolLM2 on the GPU:$answer" ;; *) note "FAILED  SmolLM2 on the GPU: $answer"; bad=1 ;; esac
}
for what in ${@:-check device start}; do
    echo "== $what"
    $what
done
[ -n "${OUT:-}" ] && cp -r cache/radish ./*.json "$OUT"/ 2>/dev/null
echo "== results"
printf '%s' "$table"
[ $bad = 0 ] && echo "gpu-test: passed" || echo "gpu-test: FAILED"
exit $bad
RUN
chmod +x $out/run.sh
du -sh $out | cut -f1 | xargs echo "gpu-test: build/gpu-test,"
