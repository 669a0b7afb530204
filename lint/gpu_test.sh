#!/usr/bin/env bash
# Bundles what must run on a GPU machine into build/gpu-test: programs, their libraries, goldens, length lists, run.sh. Carry the folder
# to a machine with an NVIDIA driver and cuBLAS 12 or 13 (nothing else is needed) and start ./run.sh there; it prints one table.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
cmake --preset release -DRADISH_CUDA=1 -B $build >/dev/null
ninja -C $build radish gpu_check cuda_test_golden
out=build/gpu-test
rm -rf $out
mkdir -p $out/lib $out/tests/data $out/llama3-8b
cp $build/radish $build/bin/gpu_check $build/bin/cuda_test_golden $out/
for program in $build/radish $build/bin/cuda_test_golden; do
    ldd $program | awk '/=> \// { print $3 }' | grep -vE '/(libc|libm|ld-linux.*)\.so' || true
done | sort -u | xargs -I{} cp -L {} $out/lib/
cp -r tests/data/golden $out/tests/data/
cp bench/*.tsv $out/
cat >$out/llama3-8b/config.json <<'CONFIG'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
 "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "max_position_embeddings": 8192,
 "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": false, "torch_dtype": "bfloat16",
 "bos_token_id": 128000, "eos_token_id": 128001, "attention_bias": false, "mlp_bias": false}
CONFIG
cat >$out/run.sh <<RUN
#!/usr/bin/env bash
# check: every kernel and every golden (1 minute). bench: kernels and steps (2 minutes). lists: D1-D5 (10 minutes). No word: check, bench.
cd "\$(dirname "\$0")"
export LD_LIBRARY_PATH=\$PWD/lib:\${LD_LIBRARY_PATH:-}
tests=$PWD/tests # where the golden test was compiled to look
[ -e "\$tests" ] || { mkdir -p "\$(dirname "\$tests")" && ln -s "\$PWD/tests" "\$tests"; }
bad=0
check() { ./gpu_check check | grep -v '^ok'; [ \${PIPESTATUS[0]} = 0 ] || bad=1; ./cuda_test_golden || bad=1; }
bench() { ./gpu_check bench; }
lists() {
    for d in D1 D1 D2 D3 D4 D5; do # the first of D1 chooses algorithms and keeps them
        echo "\$d \$(./radish bench offline -m llama3-8b --load-format dummy --device cuda --skip-tokenizer-init \\
            --max-running-requests 1024 --disable-radix-cache --lengths \$d.tsv 2>&1 | grep '^output')"
    done
    ./radish bench latency -m llama3-8b --load-format dummy --device cuda --skip-tokenizer-init --batch 1,8,64 --output-len 512 --prefill 4096
}
for what in \${@:-check bench}; do \$what; done
[ \$bad = 0 ] && echo "gpu-test: passed" || echo "gpu-test: FAILED"
exit \$bad
RUN
chmod +x $out/run.sh
du -sh $out | cut -f1 | xargs echo "gpu-test: build/gpu-test,"
