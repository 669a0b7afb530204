# cuda.cmake - compiles src/backend/cuda/*.cu with nvcc into rb_backend, and builds tests/cuda.
#
# sm_90a is what the kernels are tuned for; the sm_80 code also runs on 8.6 and 8.9, and its PTX on what comes later. The
# runtime is linked statically, cuBLASLt is opened at run time, so the binary needs the driver alone, and starts without it.
get_filename_component(CUDA_ROOT ${NVCC} DIRECTORY)
get_filename_component(CUDA_ROOT ${CUDA_ROOT} DIRECTORY)
set(NVCC_FLAGS -std=c++17 -O3 -Xcompiler -fPIC,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics,-fvisibility=hidden
    -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_80,code=[sm_80,compute_80])
# CUDA 13's drivers unpack what is packed tightly; it takes 2 MB off the binary.
execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE nvcc_version)
if(nvcc_version MATCHES "release ([0-9]+)\\." AND CMAKE_MATCH_1 GREATER_EQUAL 13)
    list(APPEND NVCC_FLAGS --compress-mode=size)
endif()
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/*.cu)
set(cuda_objects)
foreach(source ${cuda_sources})
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
    add_custom_command(OUTPUT ${object}
        COMMAND ${NVCC} ${NVCC_FLAGS} -I${CMAKE_SOURCE_DIR}/src -MD -MF ${object}.d -c ${source} -o ${object}
        DEPENDS ${source} DEPFILE ${object}.d COMMENT "nvcc ${name}" VERBATIM)
    list(APPEND cuda_objects ${object})
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)
set_source_files_properties(${cuda_objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
target_sources(rb_backend PRIVATE ${cuda_objects})
target_include_directories(rb_backend SYSTEM PRIVATE ${CUDA_ROOT}/include)
target_link_libraries(rb_backend PUBLIC ${CUDA_ROOT}/lib64/libcudart_static.a Threads::Threads rt ${CMAKE_DL_LIBS})

# every kernel against plain loops, and its speed; skipped where there is no GPU
file(GLOB cuda_checks CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cuda/gpu_check*.c)
add_executable(gpu_check ${cuda_checks})
target_include_directories(gpu_check PRIVATE src tests/cuda)
target_include_directories(gpu_check SYSTEM PRIVATE ${CUDA_ROOT}/include)
target_link_libraries(gpu_check PRIVATE rb_backend)
add_test(NAME cuda/gpu_check COMMAND gpu_check check)
set_tests_properties(cuda/gpu_check PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
